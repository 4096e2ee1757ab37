"""The command that lays images out in a plane: map."""

from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from ...store import ConfigError
from .app import subcommands
from .options import (
    DEFAULT_RUN,
    DEFAULT_STORE,
    RunFlag,
    StoreFlag,
    open_plan,
)

if TYPE_CHECKING:
    from ...stages.map import Method

app = subcommands()


@app.command(name="map")
def map_(
    method: Annotated[
        str, typer.Option("--method", help="tsne, umap (an extra: cpp-pipe[map]) or pca.")
    ] = "tsne",
    space: Annotated[
        str, typer.Option("--space", help="features (refined), or embeddings (raw).")
    ] = "features",
    rows: Annotated[
        int, typer.Option("--rows", min=2, help="Rows that the plane is fitted on, at most.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the fit.")] = 0,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Put every image in a plane, so that what is alike lies together.

    `cpp-pipe serve` shows the plane as a map. It is fitted on some rows; all others are put beside
    those that they are most like.

    \b
      cpp-pipe map
      cpp-pipe map --method umap --rows 50000
    """
    from ...stages.map import Map
    from ..serve.preparation import make_map

    for flag, value, allowed in (
        ("--method", method, ("tsne", "umap", "pca")),
        ("--space", space, ("features", "embeddings")),
    ):
        if value not in allowed:
            raise ConfigError(f"{flag} {value!r} is not allowed: {', '.join(allowed)} are")
    made = make_map(
        open_plan(store, run),
        Map(
            method=cast("Method", method),
            space=cast("Literal['features', 'embeddings']", space),
            rows=rows,
            seed=seed,
        ),
    )
    typer.echo(f"{made.rows:,} rows in the plane, fitted on {made.facts['fitted']:,} by {method}")
