"""The command that merges clusters into a hierarchy: hierarchy."""

from typing import Annotated

import typer

from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    ConfigFlag,
    DeviceFlag,
    RunFlag,
    SetFlag,
    StoreFlag,
    open_plan,
)

app = subcommands()


@app.command()
def merge(
    finest: Annotated[
        int | None, typer.Option("--finest", min=1, help="Clusters to start from, at most.")
    ] = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Merge the finest clusters down to one: a hierarchy of clusters.

    Each time the two are merged whose merging lengthens the code least, so that every level is a
    partition, nested in the next one. `cpp-pipe assign --level 12` cuts it.

    \b
      cpp-pipe merge
      cpp-pipe merge --finest 500
    """
    plan = open_plan(store, run, config, sets, device=device, merge={"finest": finest})
    made = plan.make("hierarchy")
    rows = made.table(made.only_part).to_pylist()
    lengths = {row["level"]: row["coding_length_nats"] for row in rows}
    shortest = int(made.facts["shortest"])
    typer.echo(f"{'level':>6}  {'nats':>16}")
    shown = {level for level in lengths if level <= 10 or level % 10 == 0}
    for level in sorted({*shown, shortest, made.facts["finest"]}):
        mark = "  <- shortest" if level == shortest else ""
        typer.echo(f"{level:>6}  {lengths[level]:>16,.1f}{mark}")
