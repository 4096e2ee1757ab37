"""The command that makes everything of a run: run."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...store import ConfigError, MissingError
from ..config import CONFIGS
from ..making.plan import Plan
from ..view.curve import read_curve
from .app import subcommands
from .caption import VocabularyFlag, print_captions, vocabulary_setting
from .embed import ColumnFlag, ImagesFlag, TablesFlag, data_table, print_counts
from .evaluate import evaluation_table, score
from .options import MODEL, Common, embed_table, open_plan, takes
from .output import command_line
from .search import prepare_search
from .select_k import curve_lines

app = subcommands()

_FEWEST = 2
"""Images that training needs."""


@app.command(name="run")
@takes(*MODEL, "max_skipped", "allow_partial", "batch_size", "workers", "device", "sets", "store")
def run_(
    common: Common,
    config: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of a shipped config.")
    ] = None,
    images: ImagesFlag = None,
    shards: Annotated[
        list[str] | None, typer.Option("--shards", help="Tar shards, as in `embed`.")
    ] = None,
    table: TablesFlag = None,
    image_column: ColumnFlag = None,
    vocabulary: VocabularyFlag = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Name of the run; if absent, that of the config or folder."),
    ] = None,
) -> None:
    """Run every step, from images to captions and search.

    For a folder of images nothing else is needed; a config names data and settings.

    \b
      cpp-pipe run --images photos/
      cpp-pipe run --images photos/ --model ViT-B-32 --pretrained openai --vocabulary words.txt
      cpp-pipe run digits
      cpp-pipe run cifar10 --shards 'cifar10/{00..49}.tar'
    """
    common = replace(common, config=config, run=run or run_name(config, images, shards, table))
    plan = open_plan(
        common,
        begins=True,
        data=data_table(shards, images, table, image_column),
        embed=embed_table(common),
        caption={"vocabulary": vocabulary_setting(vocabulary)},
    )
    make_all(plan)
    if _has_labels(plan):
        typer.echo("\n" + evaluation_table(score(plan)))
    typer.echo("\n" + _next_steps(plan, common))


def run_name(
    config: str | None, images: list[str] | None, shards: list[str] | None, tables: list[str] | None
) -> str:
    """The name of a run that is not named: that of its config, its folder or its table."""
    is_shipped = config is not None and (CONFIGS / f"{config}.toml").is_file()
    if config is not None and Path(config).is_dir() and not is_shipped:
        raise ConfigError(
            f"{config!r} is a folder: cpp-pipe run --images {config!r} takes the images in it, "
            "--shards its tar shards; a config is a TOML file"
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
            "nothing to run: cpp-pipe run --images FOLDER takes a folder of images, cpp-pipe run "
            "CONFIG a TOML file or the name of a shipped config, such as digits"
        )
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "images"


def _next_steps(plan: Plan, common: Common) -> str:
    """Where the result lies, and the commands that one goes on with."""
    lines = [
        command_line(common, "clusters"),
        command_line(common, "search", "--text", "a red car", "--sheet", "hits.png"),
        command_line(common, "search", "--query", "img.jpg"),
        command_line(common, "serve") + "   # a page; pip install 'cpp-pipe[serve]'",
        command_line(common, "report"),
    ]
    if len(_folders(plan)) > 1:
        command = command_line(common, "eval", "--label", "folder")
        lines.append(f"{command}   # do clusters follow the folders?")
    result = f"result: run {plan.run} in the store {plan.store.root}"
    return "\n".join([result, "next:", *(f"  {line}" for line in lines)])


def _folders(plan: Plan) -> set[str]:
    """The folders that the images of the run came from."""
    embeddings = plan.make("embeddings", asked_by="run")
    return {
        part.facts["shard"] for part in embeddings.parts if part.facts.get("source") == "images"
    }


def make_all(plan: Plan) -> None:
    """Makes everything that search and captions need, and prints the results."""
    embeddings = plan.make("embeddings")
    print_counts(embeddings, plan.left_out)
    if embeddings.rows < _FEWEST:
        raise ConfigError(
            f"clusters need at least {_FEWEST} images, got {embeddings.rows}: name more; what is "
            "embedded can be searched"
        )
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
    embeddings = plan.make("embeddings", asked_by="eval")
    label = plan.settings.data.label
    try:
        return label != "cls" or any(value is not None for value in embeddings.column("label"))
    except MissingError:
        return False
