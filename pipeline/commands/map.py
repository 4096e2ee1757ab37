"""The command that places images in a plane: map."""

from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from ...store import ConfigError
from ..wording import counted
from .app import subcommands
from .options import LONG, READING, Common, open_plan, takes
from .output import print_next, print_text

if TYPE_CHECKING:
    from ...stages.map import Method

app = subcommands()


@app.command(name="map")
@takes(*LONG, *READING)
def map_(
    common: Common,
    method: Annotated[
        str,
        typer.Option("--method", help="How: tsne, umap (an extra: cpp-pipe[map]) or pca."),
    ] = "tsne",
    space: Annotated[
        str,
        typer.Option("--space", help="What to compare: features (refined) or embeddings (raw)."),
    ] = "features",
    rows: Annotated[
        int, typer.Option("--rows", min=2, help="Fit the map on at most this many rows.")
    ] = 10_000,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of the random draws.")
    ] = 0,
    sprites: Annotated[
        bool,
        typer.Option("--sprites/--no-sprites", help="Also draw a small version of every image."),
    ] = True,
) -> None:
    """Place every image in a plane, similar ones close together.

    `cpp-pipe serve` shows the plane as a map. The map is fitted on some rows; every other row is
    placed next to the rows that it is most similar to. To draw small versions, all images are read
    once more.

    \b
      cpp-pipe map
      cpp-pipe map --method umap --rows 50000
    """
    from ...stages.map import Map
    from ..serve.preparation import make_map, make_sprites

    for flag, value, allowed in (
        ("--method", method, ("tsne", "umap", "pca")),
        ("--space", space, ("features", "embeddings")),
    ):
        if value not in allowed:
            raise ConfigError(f"{flag} must be one of {', '.join(allowed)}, got {value!r}")
    plan = open_plan(common)
    projection = make_map(
        plan,
        Map(
            method=cast("Method", method),
            space=cast("Literal['features', 'embeddings']", space),
            rows=rows,
            seed=seed,
        ),
    )
    small_images = make_sprites(plan) if sprites else None
    print_text(
        f"{counted(projection.rows, 'row')} in the plane, fitted on "
        f"{projection.facts['fitted']:,} by {method}"
    )
    if small_images is not None:
        sheets = counted(len(small_images.parts), "sheet")
        print_text(f"{counted(small_images.rows, 'small image')} on {sheets}")
    print_next(common, ["serve"], result=projection.folder)
