"""The command that builds indexes."""

from typing import Annotated

import typer

from ...stages.indexing.factory import Factory
from ...stages.indexing.recall_curve import curve_of, recall_at, width_for
from ...stages.indexing.vectors import SPACES
from ...store import Artifact, ConfigError
from ..config import IndexSettings
from ..making.indexing import is_listed
from . import options
from .app import subcommands
from .options import (
    ALONE,
    DEFAULT_RUN,
    DEFAULT_STORE,
    AddressFlag,
    ConfigFlag,
    DeviceFlag,
    EngineFlag,
    RunFlag,
    SetFlag,
    StoreFlag,
    WaitFlag,
    WorkerFlag,
    WorkersFlag,
    open_plan,
)
from .search import RecallFlag

app = subcommands()


@app.command()
def index(
    space: Annotated[
        str, typer.Option("--space", help="features (refined), embeddings (raw), or both.")
    ] = "both",
    factory: Annotated[
        str | None,
        typer.Option("--factory", help="A FAISS factory string, as IVF4096,SQ8, or auto."),
    ] = None,
    target_recall: RecallFlag = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit lists and codes anew to the rows of now.")
    ] = False,
    workers: WorkersFlag = None,
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
    """Build FAISS indexes: of features for images, of embeddings for texts.

    Few rows are compared exactly, more are linked to a graph, many are put into inverted lists: a
    sample of the rows says which, parts are listed apart, by several workers or on Ray, and merged.
    Rows that are added or removed later cost only themselves.

    \b
      cpp-pipe index
      cpp-pipe index --factory IVF4096,SQ8 --target-recall 0.98
      cpp-pipe index --workers 4      # also --worker 3/8, --engine ray
    """
    spaces = {"both": SPACES}.get(space, (space,))
    if not set(spaces) <= set(SPACES):
        raise ConfigError(f"--space {space!r} is not allowed: features, embeddings or both is")
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
        index={"factory": factory, "target_recall": target_recall},
    )
    with options.or_left_to_others():
        for one in spaces:
            if refit and is_listed(plan.settings.index, plan.make(one, asked_by="index")):
                plan.make(f"quantizer/{one}")
            typer.echo(index_line(one, plan.make(f"index/{one}"), plan.settings.index))


def index_line(space: str, index: Artifact, settings: IndexSettings) -> str:
    """What was built, and what a search of it finds."""
    target, facts = settings.target_recall, index.facts
    curve = curve_of(facts)
    width = width_for(curve, target)
    line = (
        f"{space}: {facts['rows']:,} rows, {facts['factory']}, "
        f"recall@10 {recall_at(curve, width):.3f}"
    )
    shape = Factory.parse(facts["factory"]).shape
    if shape == "lists":
        line += f" with {width} lists visited"
    elif shape == "graph":
        line += f" with {width} candidates"
    if recall_at(curve, width) < target:
        line += f", which is the best it can (target {target:g}): finer codes find more"
    return line
