"""The command that copies the samples that one chooses: curate."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import ConfigError
from ..config import EmbedSettings
from ..destinations import new_folder, require_folder, require_prefix
from ..wording import agreeing, counted
from .app import subcommands
from .flag_values import parse_numbers
from .options import LONG, READING, Common, open_plan, say, takes
from .output import narrowing, print_next, print_text
from .run import run_name

if TYPE_CHECKING:
    from ..making.plan import Plan

app = subcommands()


@app.command()
@takes("device", "edits", "where", *LONG, *READING)
def curate(
    common: Common,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the shards.")
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", help="Only these clusters, such as 3,17; repeatable."),
    ] = None,
    caption: Annotated[
        list[str] | None,
        typer.Option(
            "--caption", help="Only clusters with this caption, such as 'red *'; repeatable."
        ),
    ] = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", help="Only rows at least this confident, 0 to 1.")
    ] = 0.0,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", help="Only the keys in this file, a KEY or SHARD:KEY a line, or .parquet."
        ),
    ] = None,
    not_keys: Annotated[
        Path | None,
        typer.Option(
            "--not-keys", help="Leave out the keys in this file, which is like that of --keys."
        ),
    ] = None,
    drop_duplicates: Annotated[
        bool,
        typer.Option("--drop-duplicates", help="Keep one image of each group of near-duplicates."),
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Only images with this tag (needs --edits); repeatable."),
    ] = None,
    not_tag: Annotated[
        list[str] | None,
        typer.Option("--not-tag", help="Leave out images with this tag; repeatable."),
    ] = None,
    above: Annotated[
        float | None,
        typer.Option("--above", help="Minimum cosine of duplicates, as in `duplicates`."),
    ] = None,
    tier: Annotated[
        str, typer.Option("--tier", help="Kind of duplicates, as in `duplicates`.")
    ] = "alike",
    samples_per_shard: Annotated[
        int,
        typer.Option("--samples-per-shard", min=1, help="Maximum number of samples in a shard."),
    ] = 1000,
    prefix: Annotated[str, typer.Option("--prefix", help="Start of the names of the shards.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; write nothing.")] = False,
) -> None:
    """Copy the samples that you choose into new tar shards.

    Samples are copied byte for byte. A sample must meet all conditions; for --cluster and --caption
    together, one of the clusters or captions is enough, and for several --tag one of the tags. The
    shards appear when all of them are complete, with manifest.parquet, which lists where every
    sample went. Images of folders and tables become samples as in `pack`.

    \b
      cpp-pipe curate --drop-duplicates --out shards/
      cpp-pipe curate --cluster 3,17 --min-confidence 0.5 --out shards/
      cpp-pipe curate --caption '*dog*' --drop-duplicates --above 0.98 --out dogs/
      cpp-pipe curate --not-keys outliers.txt --dry-run
      cpp-pipe curate --edits final --not-tag screenshot --out shards/
      cpp-pipe curate --where 'sharpness > 2' --where 'width >= 512' --out shards/
    """
    from ..curation.copying import choose_samples, copy_samples
    from ..curation.selection import Conditions
    from ..curation.shard_writer import MANIFEST

    if out is None and not dry_run:
        raise ConfigError(
            "give --out, a new folder for the shards, or --dry-run, which only counts"
        )
    wanted = Conditions(
        clusters=parse_numbers("--cluster", ",".join(cluster) if cluster else None) or (),
        captions=tuple(caption or []),
        min_confidence=min_confidence,
        keys=keys,
        not_keys=not_keys,
        is_deduplicated=drop_duplicates,
        tags=tuple(tag or []),
        not_tags=tuple(not_tag or []),
    )
    if out is not None:
        require_folder(out)
    require_prefix(prefix)
    plan = replace(open_plan(common), is_dry=dry_run)
    chosen, embeddings = choose_samples(
        plan, wanted, tier=tier, above=above, edits=common.edits, where=common.where or ()
    )
    print_text(chosen.describe())
    if out is None or dry_run:
        given: dict[str, object] = {
            "--cluster": cluster,
            "--caption": caption,
            "--min-confidence": min_confidence or None,
            "--keys": keys,
            "--not-keys": not_keys,
            "--drop-duplicates": drop_duplicates,
            "--tag": tag,
            "--not-tag": not_tag,
            "--above": above,
            "--tier": None if tier == "alike" else tier,
            "--samples-per-shard": None if samples_per_shard == 1000 else samples_per_shard,
            "--prefix": prefix or None,
            "--device": None if common.device == "auto" else common.device,
        }
        words = ["curate", *_as_typed(given), *narrowing(common)]
        print_next(common, [*words, "--out", new_folder("shards") if out is None else str(out)])
        return
    written = copy_samples(
        plan, chosen, embeddings, out, samples_per_shard=samples_per_shard, prefix=prefix
    )
    if written.links:
        which = agreeing(written.links, "is a link and was", "are links and were")
        say(f"{counted(written.links, 'member')} {which} not copied")
    print_text(
        f"copied {counted(written.samples, 'sample')} into "
        f"{counted(len(written.shards), 'shard')} of {out}, "
        f"{written.bytes / 2**20:,.1f} MiB; {out / MANIFEST} lists where every sample went"
    )
    # A run of its own, so that no existing run changes.
    named = replace(common, run=_free_name(plan, out))
    print_next(named, ["run", "--shards", str(out), *_model_flags(plan)], result=out)


def _as_typed(given: Mapping[str, object]) -> list[str]:
    """The words of flags with their values; None or False is a flag that was not given."""
    words: list[str] = []
    for flag, value in given.items():
        if value is True:
            words.append(flag)
        elif value not in (None, False):
            for word in value if isinstance(value, list) else [value]:
                text = str(word)
                words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return words


def _free_name(plan: "Plan", out: Path) -> str | None:
    """A name for a run of the new shards; None if its usual name is free."""
    name, names = run_name(None, None, [str(out)], None), plan.store.runs.names()
    if name not in names:
        return None
    return next(free for n in itertools.count(2) if (free := f"{name}-{n}") not in names)


def _model_flags(plan: "Plan") -> list[str]:
    """The flags that name the model of a run, where it is not the default one."""
    embed, default = plan.settings.embed, EmbedSettings()
    flags = []
    for name in ("model", "pretrained", "model_config"):
        value = getattr(embed, name)
        if value != getattr(default, name):
            flags += [f"--{name.replace('_', '-')}", value]
    return flags
