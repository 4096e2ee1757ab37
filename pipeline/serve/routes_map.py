"""Routes of the map: points in the plane, and the clusters that colour them."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from ...store import Artifact, MissingError
from .cluster_facts import TREE
from .damage import reading
from .models import MapFacts
from .open_run import CurrentRun, OpenRun, pick_evenly
from .responses import ERROR_RESPONSES, CachedAnswer, json_response, to_json
from .workers import Workers

MAX_POINTS = 200_000
"""Points that are sent: a screen has no room for more."""

_BINARY = "application/octet-stream"

_NUMBERS = {
    200: {
        "description": "numbers, little-endian",
        "content": {_BINARY: {"schema": {"type": "string", "format": "binary"}}},
    }
}


def add_map_routes(app: FastAPI, current: CurrentRun, workers: Workers) -> None:
    """Adds the routes to the application."""

    @app.get("/api/map", response_model=MapFacts, responses=ERROR_RESPONSES, tags=["map"])
    async def facts() -> Response:
        """What the map shows."""
        opened = current.opened
        projection = need_map(opened)
        config = projection.manifest.config
        answer = MapFacts(
            rows=projection.rows,
            shown=min(projection.rows, MAX_POINTS),
            method=str(config["method"]),
            space=config["space"],
            fitted=int(projection.facts["fitted"]),
        )
        return json_response(to_json(answer))

    @app.get(
        "/api/map/points",
        responses={**ERROR_RESPONSES, **_NUMBERS},
        tags=["map"],
        response_model=None,
    )
    async def points(request: Request) -> Response:
        """First x and y of each point as float32, then the row of each point as int32."""
        return await numbers("map points", _points, request)

    @app.get(
        "/api/map/clusters",
        responses={**ERROR_RESPONSES, **_NUMBERS},
        tags=["map"],
        response_model=None,
    )
    async def clusters(
        request: Request,
        grouping: Annotated[
            str | None,
            Query(
                max_length=40,
                description="A grouping of /api/run, or `tree` for leaves of the hierarchy.",
            ),
        ] = None,
    ) -> Response:
        """The cluster of each point as int32, in the order of the points; -1 if it is excluded."""
        name = current.opened.clusters.groupings[0].name if grouping is None else grouping
        return await numbers(f"map {name}", lambda opened: _clusters(opened, name), request, name)

    async def numbers(
        name: str, make: Callable[[OpenRun], bytes], request: Request, grouping: str = ""
    ) -> Response:
        opened = current.opened
        answer = await workers.run(
            opened.answers(grouping).get, name, lambda: CachedAnswer(make(opened), _BINARY)
        )
        return answer.response(request)


def need_map(opened: OpenRun) -> Artifact:
    """The projection; MissingError if the run has none."""
    if opened.projection is None:
        raise MissingError("the run has no map: run `cpp-pipe map`")
    return opened.projection


def _shown_rows(opened: OpenRun) -> np.ndarray:
    """The rows that are points: all, or a sample at even distances."""
    return pick_evenly(np.arange(len(opened.rows)), MAX_POINTS)


def _points(opened: OpenRun) -> bytes:
    projection, rows = need_map(opened), _shown_rows(opened)
    with reading(projection):
        table = projection.table(projection.only_part)
    places = np.column_stack([table.column(side).to_numpy() for side in ("x", "y")])
    return places[rows].astype("<f4").tobytes() + rows.astype("<i4").tobytes()


def _clusters(opened: OpenRun, grouping: str) -> bytes:
    need_map(opened)
    clusters = opened.clusters
    if grouping == TREE:
        partition = clusters.level(clusters.need_tree().finest)
    else:
        partition = clusters.partition(grouping)
    numbers = partition.cluster[_shown_rows(opened)].astype("<i4")
    numbers[numbers == partition.k] = -1
    return numbers.tobytes()
