"""The command that names clusters: caption."""

from collections import Counter
from typing import Annotated

import typer

from ..making.plan import Plan
from . import options
from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    ConfigFlag,
    DeviceFlag,
    ModelConfigFlag,
    PretrainedFlag,
    RunFlag,
    SetFlag,
    StoreFlag,
    open_plan,
)

VocabularyFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--vocabulary",
        help="imagenet, coco, wordnet, a text file, .parquet, or .npz of embeddings; several too.",
    ),
]

app = subcommands()


@app.command()
def caption(
    vocabulary: VocabularyFlag = None,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", help="A prompt with {}, or imagenet-7, or imagenet-80."),
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", help="contrast, or vote (the paper's).")
    ] = None,
    pretrained: PretrainedFlag = None,
    model_config: ModelConfigFlag = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Name every cluster in words that fit it, and fit others less.

    Words are encoded once and kept: other clusters are named without the model. No two clusters
    share a caption where a second word tells them apart. Where a hierarchy was cut, all coarser
    levels are named too.

    \b
      cpp-pipe caption
      cpp-pipe caption --vocabulary coco --vocabulary words.txt
      cpp-pipe caption --vocabulary words.txt --template 'a photo of a {}.' --rule vote
    """
    plan = open_plan(
        store,
        run,
        config,
        sets,
        device=device,
        embed=options.embed_table(None, pretrained, model_config),
        caption={
            "vocabulary": vocabulary_setting(vocabulary),
            "templates": tuple(template) if template else None,
            "rule": rule,
        },
    )
    print_captions(plan)


def vocabulary_setting(named: list[str] | None) -> tuple[str, ...] | None:
    """The flag --vocabulary as a setting, whose files mean the same in whatever folder."""
    return tuple(str(options.anchored_file(one)) for one in named) if named else None


def print_captions(plan: Plan) -> None:
    """Prints a line for each cluster: its size and its best captions."""
    captions = plan.make("captions")
    assignments = plan.find("assignments")
    assert assignments is not None
    sizes = Counter(assignments.column("cluster"))
    words: dict[int, list[str]] = {}
    for row in captions.table(captions.only_part).to_pylist():
        words.setdefault(row["cluster"], []).append(f"{row['caption']} {row['score']:.0%}")
    typer.echo(f"cluster    size  captions (share by {captions.facts['rule']})")
    for cluster, some in sorted(words.items()):
        typer.echo(f"{cluster:>7} {sizes[cluster]:>7,}  {'; '.join(some[:3])}")
    if plan.settings.assign.method == "hierarchy":
        name = captions.only_part
        levels = captions.table(name, "levels", ["level"]).column(0).to_pylist()
        typer.echo(
            f"words for all levels from {max(levels)} to {min(levels)} clusters: "
            f"{captions.path(name, 'levels')}"
        )
