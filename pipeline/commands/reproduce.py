"""The command that repeats the paper's experiments: reproduce."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import Artifact, ConfigError, MissingError
from ...store.paths import expanded
from ..datasets.catalog import DataSet, find_data_set
from ..making.named_inputs import absolute_patterns
from ..wording import counted
from .app import subcommands
from .embed import print_counts
from .fetch import DOWNLOADS, DownloadsFlag, FromFlag, fetch_shards, require_fetchable
from .messages import say
from .options import LONG, MODEL, Common, embed_table, open_plan, takes
from .output import Column, print_line, print_next, print_table, print_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Settings
    from ..making.overrides import Override
    from ..making.plan import Plan
    from ..reproduction.comparison import Comparison
    from ..reproduction.scoring import ClassedRows
    from ..reproduction.trials import Trial

app = subcommands()

_ONLY_SPLIT = {"imagenet": "train-"}
"""The start of the shards' names, for a data set of which only one split is clustered."""


_ELSEWHERE = "run the command in another folder"
"""Advice where the folder of a data set, which always has its name, is taken."""


@app.command()
@takes(*MODEL, "batch_size", "workers", "device", *LONG, "sets", "store")
def reproduce(
    common: Common,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="cifar10, cifar20, cifar100, imagenet.")
    ],
    embeddings: Annotated[
        list[Path] | None,
        typer.Option(
            "--embeddings",
            metavar="FILE.npz",
            help="Take embeddings x and labels y from this file; one for each NAME.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds, from 0.")] = 3,
    source: FromFlag = None,
    downloads: DownloadsFlag = DOWNLOADS,
) -> None:
    """Repeat the paper's experiments, and compare with published scores.

    For each data set, the command fetches its shards if they are missing, embeds all images (of
    imagenet only train-*.tar) with ViT-L/14, and makes as many clusters as the paper, twice: by our
    defaults, and by the paper's recipe (the config reference, with the paper's sizes for this set).
    Then it prints a table of both, as means over the seeds, beside k-means, chance and published
    scores, and a list of what differs. --set changes embed, views, train or spectrum in both.
    Finished work is kept, so an interrupted command continues. The last line is JSON, with an
    object for each data set.

    \b
      cpp-pipe reproduce cifar10 cifar100
      cpp-pipe reproduce imagenet --from ILSVRC2012/ --device cuda
      cpp-pipe reproduce cifar10 --embeddings vit-l-14.npz --seeds 5
    """
    from ...stages.sources.embeddings.files import find_embeddings
    from ..reproduction.changes import read_changes
    from ..reproduction.recipes import require_recipe

    for name in names:
        require_recipe(name)
    files = embeddings or []
    if files and len(files) != len(names):
        raise ConfigError(
            f"--embeddings must be given once for each data set: {len(names)} are named, and "
            f"{counted(len(files), 'file')}"
        )
    if files and source is not None:
        raise ConfigError("--from has no effect with --embeddings: leave it out")
    _require_distinct(names, files)
    changes = read_changes(common.sets or [], names, has_images=not files)
    for file in files:
        find_embeddings(expanded(file))
    for name in () if files else names:
        _require_images(find_data_set(name), source, downloads)
    comparisons = []
    for number, name in enumerate(names):
        file = files[number] if files else None
        comparison = _compare(common, find_data_set(name), changes, file, seeds, source, downloads)
        _print(comparison)
        comparisons.append(comparison)
    bases = ", ".join(f"{comparison.run}-RECIPE-SEED" for comparison in comparisons)
    runs = f"the runs {bases} of the store {common.store}"
    first = replace(common, run=comparisons[0].trials[0].run)
    print_next(first, ["clusters"], result=runs)
    figures = {"data_sets": [comparison.to_json() for comparison in comparisons]}
    print_line(json.dumps(figures, separators=(",", ":")))


def _require_distinct(names: "Sequence[str]", files: "Sequence[Path]") -> None:
    """ConfigError where a data set is named twice, unless with other embeddings."""
    asked = list(zip(names, files or [None] * len(names), strict=True))
    for name, file in asked:
        if asked.count((name, file)) > 1:
            beside = "" if file is None else f" with --embeddings {file}"
            each = "each data set" if file is None else "each"
            raise ConfigError(f"{name} is named twice{beside}: name {each} once")


def _shards_of(data_set: DataSet) -> tuple[Path, str]:
    """The folder of the shards of a data set, and the pattern of their names."""
    return Path(data_set.shards), f"{_ONLY_SPLIT.get(data_set.name, '')}*.tar"


def _require_images(data_set: DataSet, source: Path | None, downloads: Path) -> None:
    """ConfigError where there are no shards of a data set, and none can be written."""
    folder, pattern = _shards_of(data_set)
    if any(folder.glob(pattern)):
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(
            f"the folder {folder} exists already, without {pattern} to read: move it away, or "
            f"{_ELSEWHERE}"
        )
    require_fetchable(data_set, folder, source, downloads, _ELSEWHERE)


def _compare(
    common: Common,
    data_set: DataSet,
    changes: "Sequence[Override]",
    file: Path | None,
    seeds: int,
    source: Path | None,
    downloads: Path,
) -> "Comparison":
    from ..reproduction.changes import change
    from ..reproduction.comparison import Comparison
    from ..reproduction.published import published
    from ..reproduction.recipes import RECIPES, follow, with_seed
    from ..view.facts import name_model

    plan, rows = _embedded(common, data_set, changes, file, source, downloads)
    trials: list[Trial] = []
    for recipe, settings_of in RECIPES.items():
        settings = change(settings_of(data_set.name, rows.embeddings.rows), changes)
        if recipe == "paper":
            named = {override.name for override in changes}
            settings = follow(settings, data_set.name, rows.embeddings.rows, named)
        settings = settings.with_tables_of(plan.settings, ("data", "embed"))
        for seed in range(seeds):
            trials.append(_trial(plan, with_seed(settings, seed), rows, data_set, recipe, seed))
    return Comparison(
        data_set=data_set,
        run=plan.run,
        file=None if file is None else str(file),
        model=name_model(rows.embeddings),
        trials=tuple(trials),
        unlabelled=int((~rows.has_label).sum()),
        kmeans=rows.score_kmeans(data_set.classes, range(seeds)),
        kmeans_method=rows.kmeans_method,
        published=published(data_set.name),
        changed=tuple(f"{override.name}={override.text}" for override in changes),
    )


def _embedded(
    common: Common,
    data_set: DataSet,
    changes: "Sequence[Override]",
    file: Path | None,
    source: Path | None,
    downloads: Path,
) -> "tuple[Plan, ClassedRows]":
    """A run of the data set's embeddings, made from its images or imported from a file."""
    from ..config import Settings
    from ..making.plan import Plan
    from ..reproduction.changes import change_model, name_run
    from ..reproduction.scoring import read_classes

    label = "cls" if file else data_set.label
    shards: tuple[str, ...] = ()
    if file is None:
        folder, pattern = _shards_of(data_set)
        if not any(folder.glob(pattern)):
            fetch_shards(data_set, folder, source, downloads)
        shards = absolute_patterns([str(folder / pattern)])
    data = {"shards": shards, "images": (), "tables": (), "builtin": "", "label": label}
    # Settings that an earlier call left in the run's record must not decide the model.
    settings = Settings().override("data", **data).override("embed", **embed_table(common))
    settings = change_model(settings, changes)
    opened = open_plan(replace(common, sets=None), begins=True)
    run = name_run(data_set.name, settings.embed, changes, file and expanded(file))
    plan = Plan(opened.store, run, settings, opened.runtime, opened.say)
    rows = plan.make("embeddings") if file is None else _imported(plan, expanded(file))
    print_counts(replace(common, run=run), rows, plan.left_out)
    classed = read_classes(rows, label)
    if not classed.classes:
        raise MissingError(
            f"none of the {counted(rows.rows, 'row')} has a label ({label}) to score with: an .npz "
            f"holds them as y, and shards of `cpp-pipe fetch {data_set.name}` have them"
        )
    if rows.rows < data_set.classes:
        raise ConfigError(
            f"{data_set.title} has {counted(data_set.classes, 'class')}, and there are only "
            f"{counted(rows.rows, 'row')}: name all of its images or embeddings"
        )
    if file is not None and classed.classes != data_set.classes:
        raise ConfigError(
            f"{data_set.title} has {counted(data_set.classes, 'class')}, and the labels y of "
            f"{file} are {classed.classes}: name the file of this data set, with its labels"
        )
    return plan, classed


def _imported(plan: "Plan", file: Path) -> Artifact:
    from ...stages.import_embeddings import Import
    from ...stages.sources.embeddings.files import find_embeddings
    from ...stages.sources.shards import by_part

    embed = plan.settings.embed
    stage = Import(model=embed.model, pretrained=Path(embed.pretrained).name)
    return plan.import_embeddings(stage, by_part(find_embeddings(file))[0])


def _trial(
    plan: "Plan",
    settings: "Settings",
    rows: "ClassedRows",
    data_set: DataSet,
    recipe: str,
    seed: int,
) -> "Trial":
    from ..making.plan import Plan
    from ..reproduction.trials import run_trial

    run = f"{plan.run}-{recipe}-{seed}"
    say(f"{data_set.title}, recipe {recipe}, seed {seed}: run {run}")
    trial = Plan(plan.store, run, settings, plan.runtime, plan.say)
    return run_trial(trial, rows, plan.run, recipe, seed)


def _print(comparison: "Comparison") -> None:
    print_line("")
    print_text(comparison.heading)
    print_table(
        [
            Column("method"),
            Column("model", is_cut=True),
            Column("ACC", is_right=True),
            Column("NMI", is_right=True),
            Column("ARI", is_right=True),
        ],
        comparison.rows(),
    )
    for line in comparison.differences():
        print_text(f"- {line}")
