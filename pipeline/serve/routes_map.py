"""Routes of the map: points in the plane, and the clusters that colour them."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ...stages.draw_sprites import MAX_POINTS
from ...stages.rows.artifact_rows import pick_evenly
from ...store import Artifact, MissingError
from ..view.facts import find_readable
from .cluster_facts import TREE
from .damage import reading
from .map_models import MapFacts, SpriteFacts
from .open_run import CurrentRun, OpenRun
from .responses import (
    BINARY,
    ERROR_RESPONSES,
    FOREVER,
    NUMBERS,
    CachedAnswer,
    json_response,
    to_json,
)
from .workers import Workers

_SHEET: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a sheet of small images",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "the sheet that the browser has"},
}


def add_map_routes(app: FastAPI, current: CurrentRun, workers: Workers) -> None:
    """Adds the routes to the application."""

    @app.get("/api/map", response_model=MapFacts, responses=ERROR_RESPONSES, tags=["map"])
    async def facts() -> Response:
        """Facts about the map: its points, method and space."""
        opened = current.opened
        projection = need_map(opened)
        config = projection.manifest.config
        answer = MapFacts(
            rows=projection.rows,
            shown=min(projection.rows, MAX_POINTS),
            method=str(config["method"]),
            space=config["space"],
            fitted=int(projection.facts["fitted"]),
            has_sprites=await workers.run(_find_sprites, opened) is not None,
        )
        return json_response(to_json(answer))

    @app.get(
        "/api/map/points",
        responses={**ERROR_RESPONSES, **NUMBERS},
        tags=["map"],
        response_model=None,
    )
    async def points(request: Request) -> Response:
        """First x and y of each point as float32, then the row of each point as int32."""
        return await numbers("map points", _points, request)

    @app.get(
        "/api/map/clusters",
        responses={**ERROR_RESPONSES, **NUMBERS},
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
        make = functools.partial(_clusters, grouping=name)
        return await numbers(f"map clusters {name}", make, request, name)

    @app.get(
        "/api/map/sprites", response_model=SpriteFacts, responses=ERROR_RESPONSES, tags=["map"]
    )
    async def sprites() -> Response:
        """The sheets of small images that the map is drawn from: their sizes and counts."""
        sheets = await workers.run(_need_sprites, current.opened)
        answer = SpriteFacts(
            rows=sheets.rows,
            side=int(sheets.facts["side"]),
            columns=int(sheets.facts["columns"]),
            sheets=[part.rows for part in sheets.parts],
            unreadable=sum(int(part.facts["unreadable"]) for part in sheets.parts),
            version=sheets.version,
        )
        return json_response(to_json(answer))

    @app.get(
        "/api/map/sprites/rows",
        responses={**ERROR_RESPONSES, **NUMBERS},
        tags=["map"],
        response_model=None,
    )
    async def sprite_rows(request: Request) -> Response:
        """The row of each small image as int32, sheet by sheet, in the order of their places."""
        return await numbers("map sprites", _sprite_rows, request)

    @app.get(
        "/api/map/sprites/{sheet}",
        responses={**_SHEET, **ERROR_RESPONSES},
        tags=["map"],
        response_model=None,
    )
    async def sheet(
        sheet: Annotated[int, Path(ge=0, le=2**31 - 1, description="Its number, from 0.")],
        request: Request,
        v: Annotated[
            str | None,
            Query(max_length=40, description="The `version`: lets a browser cache the sheet."),
        ] = None,
    ) -> Response:
        """A sheet: a JPEG of squares, row by row from the upper left."""
        sheets = await workers.run(_need_sprites, current.opened)
        if sheet >= len(sheets.parts):
            raise MissingError(f"sheet must be from 0 to {len(sheets.parts) - 1}, got {sheet}")
        tag = f'"{sheets.version}-{sheet}"'
        is_fixed = v == sheets.version
        headers = {"etag": tag, "cache-control": FOREVER if is_fixed else "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        data = await workers.run(_read_sheet, sheets, sheet, kind="images")
        return Response(data, media_type="image/jpeg", headers=headers)

    async def numbers(
        name: str, make: Callable[[OpenRun], bytes], request: Request, grouping: str = ""
    ) -> Response:
        opened = current.opened
        answer = await workers.run(
            opened.answers(grouping).get, name, lambda: CachedAnswer(make(opened), BINARY)
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


def _find_sprites(opened: OpenRun) -> Artifact | None:
    """The sheets of small images, if there are any that are current."""
    sprites = find_readable(opened.run, "sprites", is_current=True)
    return sprites if sprites is not None and sprites.rows else None


def _need_sprites(opened: OpenRun) -> Artifact:
    """The sheets of small images; MissingError if the run has none that are current."""
    sprites = _find_sprites(opened)
    if sprites is None:
        raise MissingError("the map has no small images: run `cpp-pipe map`")
    return sprites


def _sprite_rows(opened: OpenRun) -> bytes:
    sprites = _need_sprites(opened)
    with reading(sprites):
        return np.asarray(sprites.column("row"), "<i4").tobytes()


def _read_sheet(sprites: Artifact, sheet: int) -> bytes:
    with reading(sprites):
        return sprites.path(sprites.parts[sheet].name, "sheet", is_read_whole=True).read_bytes()
