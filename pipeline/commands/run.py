"""The command that makes everything of a run: run."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...stages.encoding.models.loaded_model import has_texts
from ...stages.sources.patterns import is_remote
from ...store import ConfigError, MissingError
from ...store.paths import expanded, resolved
from ..config import CONFIGS, Data, settings_of
from ..making.jobs import settings_given_back
from ..making.named_inputs import data_table, vocabulary_setting
from ..making.plan import Plan
from ..text_models import embeds_texts, find_caption_command
from ..view.labels import explain_no_labels, has_folders, read_labels
from ..view.verdict import read_verdict
from ..wording import columns_of, counted, wrap
from .app import subcommands
from .caption import VocabularyFlag, print_captions
from .embed import ColumnFlag, ImagesFlag, TablesFlag, print_counts
from .evaluate import evaluation_table, score
from .fetch import require_fetched
from .options import LONG, MODEL, Common, embed_table, open_plan, takes
from .output import command_line, print_line, print_text
from .search import prepare_search
from .select_k import verdict_lines

app = subcommands()

_FEWEST = 2
"""Images that clusters need."""


@app.command(name="run")
@takes(
    *MODEL,
    "max_skipped",
    "allow_partial",
    "batch_size",
    "workers",
    "device",
    *LONG,
    "sets",
    "store",
)
def run_(
    common: Common,
    config: Annotated[
        str | None,
        typer.Argument(help="Settings and images: a TOML file, or the name of a shipped config."),
    ] = None,
    images: ImagesFlag = None,
    shards: Annotated[
        list[str] | None, typer.Option("--shards", help="Embed tar shards, as in `embed`.")
    ] = None,
    table: TablesFlag = None,
    image_column: ColumnFlag = None,
    vocabulary: VocabularyFlag = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Find clusters again if images were added.")
    ] = False,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Name of the run; if absent, that of the config or folder."),
    ] = None,
) -> None:
    """Run every step, from images to captions and search.

    For a folder of images, --images is enough; a config names images and settings. Images that were
    added since the last time join the existing clusters. --refit finds clusters again: a new
    cluster gets the number of the old cluster that most of its images were in.

    \b
      cpp-pipe run --images photos/
      cpp-pipe run --images photos/ --refit
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
    if run is None:
        _require_same_place(plan, is_named_by_folder=config is None)
    if not (images or shards or table):
        require_fetched(config, plan.settings.data.shards)
    make_all(plan, common, refit=refit)
    _print_scores(plan)
    print_line("\n" + _next_steps(plan, common))


def run_name(
    config: str | None, images: list[str] | None, shards: list[str] | None, tables: list[str] | None
) -> str:
    """The name of a run without --run: that of its config, its folder or its table."""
    is_shipped = config is not None and (CONFIGS / f"{config}.toml").is_file()
    if config is not None and Path(config).is_dir() and not is_shipped:
        raise ConfigError(
            f"{config!r} is a folder: cpp-pipe run --images {config!r} takes the images in it, "
            "--shards its tar shards; a config is a TOML file"
        )
    if config is not None:
        return Path(config).stem
    if images:
        name = resolved(expanded(images[0])).name
    elif shards or tables:
        first = Path((shards or tables or [])[0].lstrip("@"))
        name = first.parent.name if first.suffix else first.name
    else:
        raise ConfigError(
            "nothing to run: cpp-pipe run --images FOLDER takes a folder of images, cpp-pipe run "
            "CONFIG a TOML file or the name of a shipped config, such as digits"
        )
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "images"


def _require_same_place(plan: Plan, *, is_named_by_folder: bool) -> None:
    """ConfigError if the run has images of another place, after which it has the same name.

    A run that a config names has them if none of its places was named before: another config of
    this name began it. Images that are gone from their place were moved, and stay in their run.
    """
    embeddings, record = plan.find("embeddings"), plan.store.runs.read(plan.run)
    parts = [] if embeddings is None else embeddings.parts
    sources = [record.sources[part.name] for part in parts if part.name in record.sources]
    named, places = _places(plan.settings.data), _places(settings_of(plan.store, record).data)
    if is_named_by_folder:
        named = named[:1]
    if not sources or not named or not set(named).isdisjoint(places):
        return
    place = named[0]
    if any(is_remote(source) or Path(source).exists() for source in sources):
        raise ConfigError(
            f"the run {plan.run!r} has the images of {sources[0]}, not of {place}: name another "
            f"run for these with --run, or put them in the place of those with --run {plan.run}"
        )
    plan.say(f"{sources[0]} is gone: run {plan.run} continues with {place}")


def _places(data: Data) -> list[Path]:
    """The folders of named inputs; first the one after which a run is named."""
    files = [Path(pattern.lstrip("@")) for pattern in (*data.shards, *data.tables)]
    folders = [resolved(Path(name)) for name in data.images]
    named = [*folders, *(file.parent if file.suffix else file for file in files)]
    return named or ([Path(data.builtin)] if data.builtin else [])


def _next_steps(plan: Plan, common: Common) -> str:
    """Where the result is, and the commands that may come next."""
    by_words = ("search", "--text", "a red car", "--sheet", "hits.png")
    lines = [
        command_line(common, "clusters"),
        *([command_line(common, *by_words)] if embeds_texts(plan.settings.embed) else []),
        command_line(common, "search", "--query", "img.jpg"),
        command_line(common, "serve") + "   # a page; pip install 'cpp-pipe[serve]'",
        command_line(common, "report"),
    ]
    if has_folders(plan.make("embeddings", asked_by="run")):
        command = command_line(common, "eval", "--label", "folder")
        lines.append(f"{command}   # do clusters follow the folders?")
    result = wrap(f"result: run {plan.run} in the store {plan.store.root}", columns_of(sys.stdout))
    return "\n".join([result, "next:", *(f"  {line}" for line in lines)])


def make_all(plan: Plan, common: Common, *, refit: bool = False) -> None:
    """Makes everything that search and captions need, and prints the results.

    What was fitted before rows were added is kept, unless `refit`.
    """
    with settings_given_back(plan.store, plan.run):
        asked_by = "" if refit else "run"
        embeddings = plan.make("embeddings")
        print_counts(replace(common, run=plan.run), embeddings, plan.left_out)
        if embeddings.rows < _FEWEST:
            raise ConfigError(
                f"clusters need at least {counted(_FEWEST, 'image')}, got {embeddings.rows}: name "
                "more images; those that are embedded can be searched"
            )
        for slot in ("heads", "features", "spectrum"):
            plan.make(slot, asked_by=asked_by)
        if "k_curve" in plan.settings.assign.needs:
            curve = plan.make("k_curve", asked_by=asked_by)
            for line in verdict_lines(common, read_verdict(curve)):
                print_text(line)
        plan.make("assignments")
    if has_texts(plan.settings.embed.model) or plan.settings.caption.beside:
        print_captions(plan)
    else:
        record = plan.store.runs.read(plan.run)
        words = find_caption_command(plan.store, record) or ["caption", "--beside", "RUN"]
        print_text(
            f"no captions: {plan.settings.embed.model} embeds images and no texts; "
            f"`{command_line(common, *words)}` takes them from a run whose model embeds both"
        )
    prepare_search(plan, "features")
    prepare_search(plan, "embeddings")


def _print_scores(plan: Plan) -> None:
    """Prints the scores; without labels nothing, or that there are none of those it should take."""
    embeddings = plan.make("embeddings", asked_by="eval")
    label = plan.settings.data.label
    try:
        labels = read_labels(embeddings, label, None)
    except MissingError:
        return
    if any(value is not None for value in labels):
        print_text("\n" + evaluation_table(score(plan)))
    elif label != Data.label:
        why = explain_no_labels(embeddings, label, None, embeddings.rows)
        print_text(f"\nnot scored: {why}")
