"""The command that puts every image in a cluster: assign."""

from collections import Counter
from typing import Annotated

import typer

from ...store import Artifact, ConfigError
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
    or_left_to_others,
    parse_numbers,
)

app = subcommands()


@app.command()
def assign(
    k: Annotated[str | None, typer.Option("--k", help="A number, several, or auto.")] = None,
    level: Annotated[
        str | None, typer.Option("--level", help="Levels of the hierarchy, or auto.")
    ] = None,
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
    """Put every image in a cluster, with a confidence.

    Rows that came after the clusters were found are put into the same clusters, and those that are
    far from all that was fitted are told. Several numbers are columns of one table; the first is
    that of captions and search.

    \b
      cpp-pipe assign               # as many clusters as select-k finds
      cpp-pipe assign --k 100
      cpp-pipe assign --k 20,50,100
      cpp-pipe assign --level 20    # nested in any finer level
    """
    if k is not None and level is not None:
        raise ConfigError("--k and --level exclude each other: clusters, or a cut of the hierarchy")
    given = {"k": _count("--k", k), "method": "spectral"}
    if level is not None:
        given = {"k": _count("--level", level), "method": "hierarchy"}
    flags = {} if k is None and level is None else given
    plan = open_plan(
        store,
        run,
        config,
        sets,
        workers=workers,
        worker=worker,
        wait=wait,
        engine=engine,
        address=address,
        device=device,
        assign=flags,
    )
    with or_left_to_others():
        _print_sizes(plan.make("assignments"))


def _count(flag: str, text: str | None) -> int | tuple[int, ...] | str | None:
    if text is None or text == "auto":
        return text
    numbers = parse_numbers(flag, text) or ()
    return numbers[0] if len(numbers) == 1 else numbers


def _print_sizes(assignments: Artifact) -> None:
    wanted = assignments.manifest.config["k"]
    others = wanted[1:] if isinstance(wanted, list) else []
    for column in ("cluster", *(f"cluster_{k}" for k in others)):
        sizes = sorted(Counter(assignments.column(column)).values(), reverse=True)
        typer.echo(
            f"{assignments.rows:,} rows in {len(sizes)} clusters, the largest {sizes[0]:,}, the "
            f"smallest {sizes[-1]:,}" + ("" if column == "cluster" else f" (column {column})")
        )
    far = sum(one > 1 for one in assignments.column("novelty"))
    if far:
        typer.echo(
            f"{far:,} rows are far from all that was fitted (novelty above 1): their clusters may "
            "mean nothing"
        )
