"""The command that embeds images: embed."""

from collections import Counter
from typing import Annotated, Any

import typer

from ...store import Artifact, ConfigError
from . import options
from .app import subcommands
from .options import (
    ALONE,
    DEFAULT_PROGRESS,
    DEFAULT_RUN,
    DEFAULT_STORE,
    AddressFlag,
    BatchFlag,
    ConfigFlag,
    DeviceFlag,
    EngineFlag,
    ModelConfigFlag,
    ModelFlag,
    PartialFlag,
    PretrainedFlag,
    ProgressFlag,
    RunFlag,
    SetFlag,
    SkippedFlag,
    StoreFlag,
    WaitFlag,
    WorkerFlag,
    WorkersFlag,
    open_plan,
)

ImagesFlag = Annotated[
    list[str] | None,
    typer.Option("--images", help="A folder of pictures, with all folders below it."),
]

TablesFlag = Annotated[
    list[str] | None,
    typer.Option("--table", help="A Parquet file or a glob: pictures as bytes, or their paths."),
]

ColumnFlag = Annotated[
    str | None, typer.Option("--image-column", help="Of a table, where it is not the usual one.")
]

app = subcommands()


@app.command()
def embed(
    shards: Annotated[
        list[str] | None,
        typer.Option(
            "--shards", help="'a/{000..999}.tar', <000..999>, glob, @list, dir, s3://, https://."
        ),
    ] = None,
    images: ImagesFlag = None,
    table: TablesFlag = None,
    image_column: ColumnFlag = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[SHARDS]...", help="More shards.")
    ] = None,
    model: ModelFlag = None,
    pretrained: PretrainedFlag = None,
    model_config: ModelConfigFlag = None,
    max_skipped: SkippedFlag = 0.1,
    allow_partial: PartialFlag = False,
    batch_size: BatchFlag = 64,
    workers: WorkersFlag = None,
    worker: WorkerFlag = ALONE,
    wait: WaitFlag = True,
    engine: EngineFlag = "local",
    address: AddressFlag = None,
    device: DeviceFlag = "auto",
    progress: ProgressFlag = DEFAULT_PROGRESS,
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Embed the images of shards, folders or tables with a CLIP-like model.

    Name all that the run shall hold: what is embedded already costs nothing, and an interrupted
    command goes on where it stopped. Every sample is embedded or skipped with a reason.

    \b
      cpp-pipe embed --images photos/
      cpp-pipe embed --shards 'laion/{000..999}.tar'
      cpp-pipe embed --shards 's3://bucket/laion/*.tar' --model ViT-B-32
      cpp-pipe embed --table 'beans/data/train-*.parquet'
      cpp-pipe embed --shards a.tar --model-config my.json --pretrained my.safetensors
    """
    named = [*(shards or []), *(more or [])]
    plan = open_plan(
        store,
        run,
        config,
        sets,
        device=device,
        workers=workers,
        worker=worker,
        wait=wait,
        engine=engine,
        address=address,
        batch_size=batch_size,
        max_skipped=max_skipped,
        allow_partial=allow_partial,
        progress=progress,
        begins=True,
        data=data_table(named, images, table, image_column),
        embed=options.embed_table(model, pretrained, model_config),
    )
    if not plan.settings.data.is_named:
        raise ConfigError(
            "nothing to embed is named: --images FOLDER, --shards 'FOLDER/{000..999}.tar' or "
            "--table FILE.parquet names it"
        )
    with options.or_left_to_others():
        embeddings = plan.make("embeddings")
    options.sum_up(skipped_by_reason(embeddings))
    print_counts(embeddings)


def skipped_by_reason(embeddings: Artifact) -> Counter[str]:
    """How many samples were skipped, by reason."""
    reasons: Counter[str] = Counter()
    for part in embeddings.parts:
        reasons.update(part.facts["skipped"])
    return reasons


def data_table(
    shards: list[str] | None,
    images: list[str] | None,
    tables: list[str] | None,
    image_column: str | None,
) -> dict[str, Any]:
    """The flags that name what to embed, as values of the table `data`.

    What is named takes the place of all that was named before, of whatever kind.
    """
    if not (shards or images or tables):
        return {"image_column": image_column}
    return {
        "shards": options.anchored(shards or []),
        "images": options.anchored(images or []),
        "tables": options.anchored(tables or []),
        "image_column": image_column or "",
        "builtin": "",
    }


def print_counts(embeddings: Artifact) -> None:
    """Prints that every sample is accounted for: seen = embedded + skipped."""
    reasons = skipped_by_reason(embeddings)
    seen = sum(part.facts["seen"] for part in embeddings.parts)
    embedded = sum(part.facts["embedded"] for part in embeddings.parts)
    why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    typer.echo(
        f"seen {seen:,} = embedded {embedded:,} + skipped {seen - embedded:,}"
        + (f" ({why})" if why else "")
    )
    if reasons["remote"]:
        typer.echo(
            f"remote: {reasons['remote']:,} pictures are addresses, which are not downloaded: "
            "img2dataset makes tar shards of such a table"
        )
    for part in embeddings.parts:
        facts = part.facts
        told = facts.get("stats_successes", facts["seen"])
        if told != facts["seen"]:
            typer.echo(
                f"counts differ: img2dataset wrote {told:,} samples into {facts['shard']} by its "
                f"stats file, {facts['seen']:,} are there"
            )
        lost = sum(facts["skipped"].values())
        if facts["is_partial"]:
            typer.echo(
                f"partial: {facts['shard']} is cut ({facts['why_partial']}): "
                f"{facts['embedded']:,} embedded, {lost:,} skipped"
            )
        elif lost:
            typer.echo(
                f"skipped: {lost:,} of {facts['seen']:,} in {facts['shard']}, "
                f"reasons in {embeddings.path(part.name, 'skipped')}"
            )
