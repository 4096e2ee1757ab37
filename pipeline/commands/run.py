"""The command that makes everything of a run: run."""

import re
from pathlib import Path
from typing import Annotated

import typer

from ...store import ConfigError
from ..making.plan import Plan
from ..view.curve import read_curve
from . import options
from .app import subcommands
from .caption import VocabularyFlag, print_captions, vocabulary_setting
from .embed import ColumnFlag, ImagesFlag, TablesFlag, data_table, print_counts
from .evaluate import evaluation_table, score
from .options import (
    DEFAULT_STORE,
    BatchFlag,
    DeviceFlag,
    ModelConfigFlag,
    ModelFlag,
    PartialFlag,
    PretrainedFlag,
    SetFlag,
    SkippedFlag,
    StoreFlag,
    WorkersFlag,
    open_plan,
)
from .search import prepare_search
from .select_k import curve_lines

app = subcommands()


@app.command(name="run")
def run_(
    config: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of a shipped config.")
    ] = None,
    images: ImagesFlag = None,
    shards: Annotated[list[str] | None, typer.Option("--shards", help="As in embed.")] = None,
    table: TablesFlag = None,
    image_column: ColumnFlag = None,
    model: ModelFlag = None,
    pretrained: PretrainedFlag = None,
    model_config: ModelConfigFlag = None,
    vocabulary: VocabularyFlag = None,
    max_skipped: SkippedFlag = 0.1,
    allow_partial: PartialFlag = False,
    batch_size: BatchFlag = 64,
    workers: WorkersFlag = None,
    device: DeviceFlag = "auto",
    sets: SetFlag = None,
    run: Annotated[
        str | None, typer.Option("--run", help="If absent, named like the config or the folder.")
    ] = None,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Walk the whole path, from pictures to captions and search.

    For a folder of pictures nothing else is needed; a config names data and settings.

    \b
      cpp-pipe run --images photos/
      cpp-pipe run --images photos/ --model ViT-B-32 --pretrained openai --vocabulary words.txt
      cpp-pipe run digits
      cpp-pipe run cifar10 --shards 'cifar10/{00..49}.tar'
    """
    name = run or run_name(config, images, shards, table)
    plan = open_plan(
        store,
        name,
        config,
        sets,
        device=device,
        workers=workers,
        batch_size=batch_size,
        max_skipped=max_skipped,
        allow_partial=allow_partial,
        begins=True,
        data=data_table(shards, images, table, image_column),
        embed=options.embed_table(model, pretrained, model_config),
        caption={"vocabulary": vocabulary_setting(vocabulary)},
    )
    walk(plan)
    if _has_labels(plan):
        typer.echo("\n" + evaluation_table(score(plan)))
    typer.echo("\n" + _what_next(plan, store))


def run_name(
    config: str | None, images: list[str] | None, shards: list[str] | None, tables: list[str] | None
) -> str:
    """The name of a run that is not named: that of its config, its folder or its table."""
    from ..config import CONFIGS

    is_shipped = config is not None and (CONFIGS / f"{config}.toml").is_file()
    if config is not None and Path(config).is_dir() and not is_shipped:
        raise ConfigError(
            f"{config!r} is a folder: cpp-pipe run --images {config!r} takes the pictures in it, "
            "--shards its tar shards, and a config is a TOML file"
        )
    if config is not None:
        return Path(config).stem
    if images:
        name = Path(images[0]).expanduser().resolve().name
    elif shards or tables:
        first = Path((shards or tables or [])[0].lstrip("@"))
        name = first.parent.name if first.suffix else first.name
    else:
        raise ConfigError(
            "nothing to run is named: cpp-pipe run --images FOLDER takes a folder of pictures, "
            "cpp-pipe run CONFIG a TOML file or the name of a shipped config, as digits"
        )
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "images"


def _what_next(plan: Plan, store: str) -> str:
    """The commands that one goes on with."""
    where = f" --run {plan.run}" + (f" --store {store}" if store != DEFAULT_STORE else "")
    lines = [
        f"  cpp-pipe search --text 'a red car' --sheet hits.png{where}",
        f"  cpp-pipe search --query img.jpg{where}",
        f"  cpp-pipe serve{where}   # a page; pip install 'cpp-pipe[serve]'",
        f"  cpp-pipe report{where}",
    ]
    if len(_folders(plan)) > 1:
        lines.append(f"  cpp-pipe eval --label folder{where}   # do clusters follow the folders?")
    return "\n".join(["next:", *lines])


def _folders(plan: Plan) -> set[str]:
    """The folders that the pictures of the run came from."""
    embeddings = plan.make("embeddings", asked_by="run")
    return {
        part.facts["shard"] for part in embeddings.parts if part.facts.get("source") == "images"
    }


def walk(plan: Plan) -> None:
    """Makes everything that a run can hold, and prints what was found."""
    print_counts(plan.make("embeddings"))
    for slot in ("heads", "features", "spectrum"):
        plan.make(slot)
    if "k_curve" in plan.settings.assign.needs:
        curve = plan.make("k_curve")
        for line in curve_lines(curve, read_curve(curve).points):
            typer.echo(line)
    plan.make("assignments")
    print_captions(plan)
    prepare_search(plan, "features")
    prepare_search(plan, "embeddings")


def _has_labels(plan: Plan) -> bool:
    from ...store import MissingError

    embeddings = plan.make("embeddings", asked_by="eval")
    label = plan.settings.data.label
    try:
        return label != "cls" or any(one is not None for one in embeddings.column("label"))
    except MissingError:
        return False
