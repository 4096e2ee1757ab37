"""Routes of the map: points of the plane, and the clusters that they are coloured by."""

from typing import Annotated

from fastapi import FastAPI, Query
from starlette.responses import Response

from ...store import Artifact, MissingError
from .answers import TROUBLES, Workers, answer, json_response
from .damage import reading
from .detail import TREE
from .models import MapFacts
from .opened import Current, Opened, spread

MOST_POINTS = 200_000
"""Points that are sent, at most: more than a screen has places for."""

_NUMBERS = {
    200: {
        "description": "numbers, little-endian",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def add_map_routes(app: FastAPI, current: Current, workers: Workers) -> None:
    """Adds them to the application."""

    @app.get("/api/map", response_model=MapFacts, responses=TROUBLES, tags=["map"])
    async def facts() -> Response:
        """What the map is of."""
        opened = current.opened
        found = need_map(opened)
        config = found.manifest.config
        told = MapFacts(
            rows=found.rows,
            shown=min(found.rows, MOST_POINTS),
            method=str(config["method"]),
            space=config["space"],
            fitted=int(found.facts["fitted"]),
        )
        return json_response(answer(told))

    @app.get(
        "/api/map/points",
        responses={**TROUBLES, **_NUMBERS},
        tags=["map"],
        response_model=None,
    )
    async def points() -> Response:
        """For each point x and y as float32; then, for each, its row as int32."""
        return _numbers(await workers.run(_points, current.opened))

    @app.get(
        "/api/map/clusters",
        responses={**TROUBLES, **_NUMBERS},
        tags=["map"],
        response_model=None,
    )
    async def clusters(
        grouping: Annotated[
            str | None,
            Query(max_length=40, description="As elsewhere; `tree` gives leaves of the hierarchy."),
        ] = None,
    ) -> Response:
        """For each point its cluster, as int32, in the order of the points."""
        return _numbers(await workers.run(_clusters, current.opened, grouping))


def need_map(opened: Opened) -> Artifact:
    """The projection; MissingError where the run has none."""
    if opened.projection is None:
        raise MissingError("the run has no map: `cpp-pipe map` makes it")
    return opened.projection


def _shown(opened: Opened):
    """The rows that are points: all, or at even distances."""
    import numpy as np

    return spread(np.arange(len(opened.rows)), MOST_POINTS)


def _points(opened: Opened) -> bytes:
    import numpy as np

    found, rows = need_map(opened), _shown(opened)
    with reading(found):
        table = found.table(found.only_part)
    places = np.column_stack([table.column(side).to_numpy() for side in ("x", "y")])
    return places[rows].astype("<f4").tobytes() + rows.astype("<i4").tobytes()


def _clusters(opened: Opened, grouping: str | None) -> bytes:
    need_map(opened)
    found = opened.clusters
    if grouping == TREE:
        column = found.level(found.need_tree().finest)
    else:
        column = found.column(found.groupings[0].name if grouping is None else grouping)
    return column.cluster[_shown(opened)].astype("<i4").tobytes()


def _numbers(data: bytes) -> Response:
    return Response(
        data, media_type="application/octet-stream", headers={"cache-control": "no-store"}
    )
