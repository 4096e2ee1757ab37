"""Commands that make artifacts."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from ...store import Artifact, ConfigError
from ..plan import Plan
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

_WORKERS = 1

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
VocabularyFlag = Annotated[
    str | None,
    typer.Option("--vocabulary", help="imagenet, coco, a text file, or .npz of embeddings."),
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
    workers: WorkersFlag = _WORKERS,
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


@app.command(name="import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help=".npz, .npy, or a clip-retrieval folder.")],
    model: Annotated[str, typer.Option("--model", help="The model that made them.")],
    pretrained: Annotated[str, typer.Option("--pretrained", help="Its weights.")] = "openai",
    model_config: ModelConfigFlag = None,
    keys: Annotated[Path | None, typer.Option("--keys", help=".npy or .txt of keys.")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help=".npy or .txt of labels.")] = None,
    max_skipped: SkippedFlag = 0.1,
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Take over embeddings that were made elsewhere.

    Files of embeddings do not say which model made them, and a query must be embedded with the
    same one: name it.

    \b
      cpp-pipe import clip.npz --model ViT-B-32 --pretrained openai
      cpp-pipe import img_emb.npy --keys keys.txt --model ViT-L-14
      cpp-pipe import my-clip-retrieval-folder --model ViT-L-14
    """
    from ...stages.import_embeddings import Import
    from ...stages.sources.embeddings_files import sniff

    sources = [part for path in paths for part in sniff(path, keys=keys, labels=labels)]
    plan = open_plan(
        store,
        run,
        config,
        sets,
        max_skipped=max_skipped,
        begins=True,
        embed=options.embed_table(model, pretrained, model_config),
        data={"shards": (), "images": (), "tables": (), "builtin": ""},
    )
    made = plan.take_over(
        Import(model=plan.settings.embed.model, pretrained=Path(pretrained).name),
        {part.part_name: part for part in sources},
    )
    print_counts(made)


@app.command()
def train(
    epochs: Annotated[int | None, typer.Option("--epochs", min=1)] = None,
    lr: Annotated[float | None, typer.Option("--lr")] = None,
    eta: Annotated[float | None, typer.Option("--eta", help="Temperature of Π.")] = None,
    features: Annotated[int | None, typer.Option("--features", help="p, feature size.")] = None,
    seed: Annotated[int | None, typer.Option("--seed")] = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Train heads on the embeddings with the rate-reduction objective.

    It stops when clusters get no more stable, and keeps the heads where they were the most stable;
    no label enters. A killed training goes on from its last checkpoint. All settings are in the
    table [train]: --set train.KEY=VALUE changes any of them, --config reference takes the paper's.

    \b
      cpp-pipe train
      cpp-pipe train --epochs 20 --set train.hidden=2048
      torchrun --nproc-per-node 2 -m cpp_pipe train
    """
    flags = {"epochs": epochs, "lr": lr, "eta": eta, "features": features, "seed": seed}
    plan = open_plan(store, run, config, sets, device=device, train=flags)
    heads = plan.make("heads")
    typer.echo(f"history: {heads.path(heads.parts[0].name, 'picture')}")


@app.command()
def project(
    workers: WorkersFlag = _WORKERS,
    worker: WorkerFlag = ALONE,
    wait: WaitFlag = True,
    engine: EngineFlag = "local",
    address: AddressFlag = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Refine all embeddings with the trained heads.

    \b
      cpp-pipe project
    """
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
    )
    with options.or_left_to_others():
        plan.make("features")


@app.command()
def caption(
    vocabulary: VocabularyFlag = None,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", help="A prompt with {}, or imagenet-7, or imagenet-80."),
    ] = None,
    pretrained: PretrainedFlag = None,
    model_config: ModelConfigFlag = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Name every cluster in words, by the votes of its images.

    \b
      cpp-pipe caption
      cpp-pipe caption --vocabulary words.txt --template 'a photo of a {}.'
    """
    plan = open_plan(
        store,
        run,
        config,
        sets,
        device=device,
        embed=options.embed_table(None, pretrained, model_config),
        caption={
            "vocabulary": options.anchored_file(vocabulary),
            "templates": tuple(template) if template else None,
        },
    )
    print_captions(plan)


def print_captions(plan: Plan, *, asked_by: str = "") -> None:
    """Prints a line for each cluster: its size and its best captions."""
    captions = plan.make("captions", asked_by=asked_by)
    assignments = plan.find("assignments")
    assert assignments is not None
    sizes = Counter(assignments.column("cluster"))
    words: dict[int, list[str]] = {}
    for row in captions.table(captions.parts[0].name).to_pylist():
        words.setdefault(row["cluster"], []).append(f"{row['caption']} {row['score']:.0%}")
    typer.echo("cluster    size  captions (share of votes)")
    for cluster, some in sorted(words.items()):
        typer.echo(f"{cluster:>7} {sizes[cluster]:>7,}  {', '.join(some[:3])}")


@app.command()
def index(
    space: Annotated[
        str, typer.Option("--space", help="features (refined), embeddings (raw), or both.")
    ] = "both",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Build FAISS indexes: of features for images, of embeddings for texts.

    \b
      cpp-pipe index
    """
    spaces = {"both": ("features", "embeddings")}.get(space, (space,))
    if not set(spaces) <= {"features", "embeddings"}:
        raise ConfigError(f"--space {space!r} is not allowed: features, embeddings or both is")
    plan = open_plan(store, run, config, sets)
    for one in spaces:
        facts = plan.make(f"index/{one}").facts
        typer.echo(
            f"{one}: {facts['rows']:,} rows, {facts['factory']}, "
            f"recall@10 {facts['recall_at_10']:.3f}"
        )
