"""The command that embeds images: embed."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import typer

from ...stages.sources.ignored_files import describe_left_out
from ...store import Artifact, ConfigError
from ..making.named_inputs import data_table
from ..view.skipped import count_skipped, explain_skipped
from ..wording import agreeing, counted
from .app import subcommands
from .fetch import require_fetched
from .messages import sum_up
from .options import (
    MAKING,
    MODEL,
    WORKERS,
    Common,
    embed_table,
    end_if_left_to_others,
    open_plan,
    takes,
)
from .output import command_line, print_next, print_text

ImagesFlag = Annotated[
    list[str] | None,
    typer.Option("--images", help="Embed the images in this folder and all folders below it."),
]

TablesFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--table", help="Embed the images in Parquet tables (a file or a glob): bytes, or paths."
    ),
]

ColumnFlag = Annotated[
    str | None,
    typer.Option("--image-column", help="Column of the images in a table; found if absent."),
]

app = subcommands()

_LISTED = 10
"""Parts with skipped samples to list, at most."""


@app.command()
@takes(*MODEL, "max_skipped", "allow_partial", "batch_size", *WORKERS, *MAKING, begins=True)
def embed(
    common: Common,
    shards: Annotated[
        list[str] | None,
        typer.Option(
            "--shards",
            help="Embed tar shards: 'a/{000..999}.tar', a glob, a folder, @list, s3://, https://.",
        ),
    ] = None,
    images: ImagesFlag = None,
    table: TablesFlag = None,
    image_column: ColumnFlag = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Estimate the time and the bytes from a sample; write nothing."
        ),
    ] = False,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[SHARDS]...", help="More shards, like --shards.")
    ] = None,
) -> None:
    """Embed the images of folders, shards or tables.

    Name all inputs of the run, old and new: images that are already embedded are not embedded
    again, and an interrupted command continues where it stopped. Every image is embedded, or
    skipped with a reason. --dry-run embeds images for about ten seconds to estimate the time.

    \b
      cpp-pipe embed --images photos/
      cpp-pipe embed --shards 'laion/{000..999}.tar' --dry-run
      cpp-pipe embed --shards 'laion/{000..999}.tar'
      cpp-pipe embed --shards 's3://bucket/laion/*.tar' --model ViT-B-32
      cpp-pipe embed --table 'beans/data/train-*.parquet'
      cpp-pipe embed --shards a.tar --model-config my.json --pretrained my.safetensors
    """
    plan = open_plan(
        common,
        begins=True,
        data=data_table([*(shards or []), *(more or [])], images, table, image_column),
        embed=embed_table(common),
    )
    if not plan.settings.data.is_named:
        raise ConfigError(
            "nothing to embed: name images with --images FOLDER, --shards "
            "'FOLDER/{000..999}.tar' or --table FILE.parquet"
        )
    if not (images or shards or more or table):
        require_fetched(common.config, plan.settings.data.shards)
    if dry_run:
        from ..making.forecast import forecast

        for line in forecast(plan).lines():
            print_text(line)
        print_next(common, "run it again without --dry-run to embed them")
        return
    with end_if_left_to_others():
        embeddings = plan.make("embeddings")
    sum_up(count_skipped(embeddings))
    print_counts(common, embeddings, plan.left_out)
    print_next(common, ["train"], result=embeddings.folder)


def print_counts(
    common: Common, embeddings: Artifact, left_out: Mapping[str, int] | None = None
) -> None:
    """Prints the counts of samples: seen = embedded + skipped.

    `left_out` counts files, by suffix, that belong to no sample.
    """
    reasons = count_skipped(embeddings)
    seen = sum(part.facts["seen"] for part in embeddings.parts)
    embedded = sum(part.facts["embedded"] for part in embeddings.parts)
    why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    print_text(
        f"seen {seen:,} = embedded {embedded:,} + skipped {seen - embedded:,}"
        + (f" ({why})" if why else "")
    )
    if reasons["remote"]:
        print_text(
            f"remote: {counted(reasons['remote'], 'image')} "
            f"{agreeing(reasons['remote'], 'is a URL', 'are URLs')}, which embed does not "
            "download: make tar shards of the table with img2dataset"
        )
    for line in explain_skipped(embeddings):
        print_text(line)
    members: Counter[str] = Counter()
    for part in embeddings.parts:
        members.update(part.facts.get("left_out", {}))
    for counts, what in ((left_out or {}, "files"), (members, "members of tar shards")):
        if counts:
            print_text(describe_left_out(counts, what))
    with_skipped = 0
    for part in embeddings.parts:
        facts = part.facts
        expected = facts.get("stats_successes", facts["seen"])
        if expected != facts["seen"]:
            print_text(
                f"counts differ: img2dataset's stats file says "
                f"{counted(expected, 'sample')} for {facts['shard']}, which holds "
                f"{facts['seen']:,}"
            )
        lost = sum(facts["skipped"].values())
        if facts.get("is_partial"):
            print_text(
                f"partial: {facts['shard']} is cut ({facts['why_partial']}): "
                f"{facts['embedded']:,} embedded, {lost:,} skipped"
            )
        elif lost:
            with_skipped += 1
            if with_skipped <= _LISTED:
                print_text(f"skipped: {lost:,} of {facts['seen']:,} in {facts['shard']}")
    if with_skipped > _LISTED:
        print_text(f"skipped: some in {counted(with_skipped - _LISTED, 'more part')}")
    if with_skipped:
        print_text(f"`{command_line(common, 'skipped')}` lists each with its reason")
