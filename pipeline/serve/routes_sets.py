"""Routes of image sets: what the page shows as a grid, and what filters leave."""

from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from ..view.column_facts import describe_columns
from .comparison import compare_clusters
from .copies import find_kept
from .damage import reading
from .image_facts import need_row
from .image_sets import describe_set, find_set, list_images
from .json_values import to_json_value
from .open_run import CurrentRun, OpenRun
from .responses import BINARY, ERROR_RESPONSES, NUMBERS, CachedAnswer, json_response, to_json
from .routes import ClusterGroupingFlag
from .routes_search import RowPath
from .set_models import (
    Column,
    Columns,
    Comparison,
    CopyKind,
    Kept,
    SetFacts,
    SetItems,
    SetPage,
    SetQuery,
)
from .workers import Workers

MAX_SET_ROWS = 2_000_000
"""Rows of a set that are sent at once: 8 MB."""

ClusterFlag = Annotated[int, Query(ge=0, lt=2**31)]


def add_set_routes(app: FastAPI, current: CurrentRun, workers: Workers) -> None:
    """Adds the routes to the application."""

    @app.get("/api/set", response_model=SetFacts, responses=ERROR_RESPONSES, tags=["sets"])
    async def facts(query: Annotated[SetQuery, Query()]) -> Response:
        """A set of images: its clusters, labels and confidences."""
        opened = current.opened

        def work() -> bytes:
            return to_json(describe_set(opened, find_set(opened, query)))

        return json_response(await workers.run(work))

    @app.get("/api/set/items", response_model=SetItems, responses=ERROR_RESPONSES, tags=["sets"])
    async def items(query: Annotated[SetPage, Query()]) -> Response:
        """Some images of a set, in its order."""
        opened = current.opened

        def work() -> bytes:
            images = find_set(opened, query)
            listed = list_images(opened, images, query.offset, query.limit)
            return to_json(SetItems(total=len(images.rows), offset=query.offset, items=listed))

        return json_response(await workers.run(work))

    @app.get(
        "/api/images/{row}/kept", response_model=Kept, responses=ERROR_RESPONSES, tags=["sets"]
    )
    async def kept(row: RowPath, kind: CopyKind = "duplicates") -> Response:
        """The image that is kept in the place of a copy or a near-duplicate."""
        opened = current.opened

        def work() -> bytes:
            need_row(opened, row)
            return to_json(Kept(row=find_kept(opened, kind, row)))

        return json_response(await workers.run(work))

    @app.get("/api/compare", response_model=Comparison, responses=ERROR_RESPONSES, tags=["sets"])
    async def compare(
        a: ClusterFlag, b: ClusterFlag, grouping: ClusterGroupingFlag = None
    ) -> Response:
        """Two clusters: the typical images of each, and those that may belong to the other."""
        opened = current.opened
        name = opened.clusters.groupings[0].name if grouping is None else grouping
        return json_response(
            await workers.run(lambda: to_json(compare_clusters(opened, name, a, b)))
        )

    @app.get("/api/columns", response_model=Columns, responses=ERROR_RESPONSES, tags=["sets"])
    async def columns(request: Request) -> Response:
        """The columns that `where` may name, with their ranges or most frequent values."""
        opened = current.opened

        def work() -> CachedAnswer:
            return opened.cached.get("columns", lambda: CachedAnswer(to_json(_columns(opened))))

        return (await workers.run(work)).response(request)

    @app.get(
        "/api/set/rows",
        responses={**ERROR_RESPONSES, **NUMBERS},
        tags=["sets"],
        response_model=None,
    )
    async def rows(query: Annotated[SetQuery, Query()]) -> Response:
        """The rows of a set as int32, in its order: the first two million."""
        opened = current.opened

        def work() -> bytes:
            numbers = find_set(opened, query).rows
            return numbers[:MAX_SET_ROWS].astype("<i4").tobytes()

        return Response(await workers.run(work), media_type=BINARY)


def _columns(opened: OpenRun) -> Columns:
    with reading(opened.embeddings):
        columns = describe_columns(opened.run)
    return Columns(columns=[Column(**to_json_value(asdict(column))) for column in columns])
