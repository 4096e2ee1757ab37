"""The command that computes eigenvectors: spectrum."""

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
def spectrum(
    landmarks: Annotated[int | None, typer.Option("--landmarks", min=2)] = None,
    affinity: Annotated[
        str | None, typer.Option("--affinity", help="auto, consensus, or membership (the paper's).")
    ] = None,
    clusterings: Annotated[
        int | None, typer.Option("--clusterings", min=1, help="Of the consensus.")
    ] = None,
    k_max: Annotated[int | None, typer.Option("--k-max", min=0, help="0: by rows.")] = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Compute the leading eigenvectors of an affinity of landmark rows.

    Landmarks are rows that stand for all; they are drawn so that rare groups have their share.

    \b
      cpp-pipe spectrum --landmarks 10000 --k-max 300
      cpp-pipe spectrum --affinity membership
    """
    flags = {
        "landmarks": landmarks,
        "affinity": affinity,
        "clusterings": clusterings,
        "k_max": k_max,
    }
    made = open_plan(store, run, config, sets, device=device, spectrum=flags).make("spectrum")
    typer.echo(
        f"{made.rows:,} landmarks for {made.facts['rows_in_all']:,} rows, linked by "
        f"{made.facts['affinity']}, up to {made.facts['k_max']} clusters"
    )
