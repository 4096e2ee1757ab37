"""Routes of images, their neighbours, and search."""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from fastapi import FastAPI, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ...store import QueryError
from ..view.applied_edits import OPEN
from ..view.query import Example, Question, space_for
from .decided_clusters import DECIDED
from .finder import MAX_UPLOAD_BYTES, encode_vector
from .image_facts import describe_image, list_hits, need_row
from .images import DRAWING, MEDIA_TYPES
from .models import (
    MAX_ROWS,
    Hits,
    ImageFacts,
    QueryVector,
    SearchOptions,
    SearchQuery,
    Space,
)
from .open_run import CurrentRun, OpenRun
from .request_body import Bodies
from .responses import ERROR_RESPONSES, FOREVER, json_response, to_json
from .workers import Workers

RowPath = Annotated[int, Path(ge=0, lt=2**31)]
RowFlag = Annotated[int, Query(ge=0, lt=2**31)]
MAX_STRIP = 8
VersionFlag = Annotated[
    str | None, Query(max_length=80, description="The version that the run must hold.")
]
GenerationFlag = Annotated[
    str | None,
    Query(max_length=40, description="The run's `generation`: lets a browser cache the image."),
]
CountFlag = Annotated[int, Query(ge=1, le=MAX_ROWS, description="Number of rows.")]
HitGroupingFlag = Annotated[
    str | None,
    Query(
        max_length=40,
        description="`decided` for decided clusters and without excluded images; else the first.",
    ),
]
SpaceFlag = Annotated[Space, Query(description="Refined features or raw embeddings.")]


def _binary(*media_types: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"content": {media_type: {"schema": schema} for media_type in media_types}}


_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "the image", **_binary("image/jpeg", "image/png")}
}
_ORIGINAL: dict[int | str, dict[str, Any]] = {
    200: {"description": "the bytes", **_binary(*MEDIA_TYPES, "application/octet-stream")}
}
_UPLOAD = {"requestBody": {"required": True, **_binary("application/octet-stream")}}


def add_search_routes(app: FastAPI, current: CurrentRun, workers: Workers, bodies: Bodies) -> None:
    """Adds the routes to the application."""

    @app.get(
        "/api/images/{row}", response_model=ImageFacts, responses=ERROR_RESPONSES, tags=["images"]
    )
    async def image(row: RowPath) -> Response:
        """A row in full."""
        opened = current.opened
        return json_response(await workers.run(lambda: to_json(describe_image(opened, row))))

    @app.get(
        "/api/images/{row}/neighbours",
        response_model=Hits,
        responses=ERROR_RESPONSES,
        tags=["images"],
    )
    async def neighbours(
        row: RowPath,
        space: SpaceFlag = "features",
        n: CountFlag = 12,
        grouping: HitGroupingFlag = None,
    ) -> Response:
        """The rows nearest to a row, without the row itself."""
        opened = current.opened

        def work() -> bytes:
            need_row(opened, row)
            like = (Example(kind="row", value=row),)
            edits = _edits_for(opened, grouping)
            question = Question(like=like, space=space, n=n + 1, edits=edits)
            return to_json(_find_hits(opened, question, without=row))

        return json_response(await workers.run(work))

    @app.get("/api/rows", response_model=list[int], responses=ERROR_RESPONSES, tags=["images"])
    async def rows(
        key: Annotated[str, Query(max_length=4096)],
        shard: Annotated[str | None, Query(max_length=4096)] = None,
    ) -> Response:
        """The rows of a key, in one shard or in all."""
        opened = current.opened
        numbers = await workers.run(opened.rows.find, key, shard)
        return json_response(str(numbers[:MAX_ROWS]).encode())

    @app.get(
        "/api/pictures/{row}",
        responses={**_IMAGE, **ERROR_RESPONSES},
        tags=["images"],
        response_model=None,
    )
    async def picture(
        row: RowPath,
        request: Request,
        size: Annotated[
            Literal["128", "256", "1280"],
            Query(description="Pixels: of the shorter side, or of the longer for 1280."),
        ] = "256",
        v: GenerationFlag = None,
    ) -> Response:
        """The image of a row, resized."""
        opened = current.opened
        tag = f'"{opened.embeddings.version}-{row}-{size}-{DRAWING}"'
        is_fixed = v == opened.generation
        headers = {"etag": tag, "cache-control": FOREVER if is_fixed else "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        resized = opened.images.find(row, int(size))
        if resized is None:
            resized = await workers.run(opened.images.get, row, int(size), kind="images")
        data, media_type = resized
        return Response(data, media_type=media_type, headers=headers)

    @app.get(
        "/api/strip",
        responses={**_IMAGE, **ERROR_RESPONSES},
        tags=["images"],
        response_model=None,
    )
    async def strip(
        row: Annotated[list[RowFlag], Query(min_length=1, max_length=MAX_STRIP)],
        v: GenerationFlag = None,
    ) -> Response:
        """Small images of some rows side by side, in the order given: one answer for a cluster."""
        opened = current.opened
        data, is_whole = await workers.run(opened.images.strip, row, kind="images")
        # An image that cannot be read now may be readable later.
        is_fixed = is_whole and v == opened.generation
        headers = {"cache-control": FOREVER if is_fixed else "no-store"}
        return Response(data, media_type="image/jpeg", headers=headers)

    @app.get(
        "/api/pictures/{row}/original",
        responses={**_ORIGINAL, **ERROR_RESPONSES},
        tags=["images"],
        response_model=None,
    )
    async def original(row: RowPath) -> Response:
        """The bytes of a row's image as they were embedded, as a download."""
        images = current.opened.images
        data, media_type = await workers.run(images.original, row, kind="images")
        headers = {"content-disposition": f'attachment; filename="row-{row}"'}
        return Response(data, media_type=media_type, headers=headers)

    @app.get("/api/search", response_model=Hits, responses=ERROR_RESPONSES, tags=["search"])
    async def search(query: Annotated[SearchQuery, Query()]) -> Response:
        """The rows nearest to a text, a row, several rows together, or a vector."""
        text, row, vector = query.text, query.row, query.vector
        queries = [value for value in (text, row, vector, query.rows or None) if value is not None]
        if len(queries) != 1:
            raise QueryError(f"give one of text, row, rows and vector, got {len(queries)}")
        opened = current.opened
        has_text = text is not None or bool(query.not_text)
        space = cast(Space, space_for(query.space, has_text=has_text))
        if text is not None:
            like = [await embed_text(opened, text)]
        elif vector is not None:
            # In a worker: the first call opens the index.
            decoded = await workers.run(opened.finder.decode_vector, vector, space)
            like = [Example(kind="vector", value=decoded)]
        else:
            numbers = query.rows if row is None else [row]
            like = [Example(kind="row", value=number) for number in numbers]
        return await respond(opened, like, space, query, text)

    @app.post(
        "/api/search",
        response_model=Hits,
        responses=ERROR_RESPONSES,
        tags=["search"],
        openapi_extra=_UPLOAD,
    )
    async def search_image(
        request: Request, options: Annotated[SearchOptions, Query()]
    ) -> Response:
        """The rows nearest to an image, whose bytes are the body; they are not kept."""
        opened = current.opened
        space = cast(Space, space_for(options.space, has_text=bool(options.not_text)))
        async with bodies.read(request, MAX_UPLOAD_BYTES) as data:
            vector = await workers.run(opened.finder.model.embed_image, data, space, kind="model")
        return await respond(opened, [Example(kind="vector", value=vector[0])], space, options)

    @app.post(
        "/api/vector",
        response_model=QueryVector,
        responses=ERROR_RESPONSES,
        tags=["search"],
        openapi_extra=_UPLOAD,
    )
    async def vector(
        request: Request,
        kind: Literal["image", "text"],
        space: SpaceFlag,
        embeddings: VersionFlag = None,
        heads: VersionFlag = None,
    ) -> Response:
        """An image or a text, the body, as a vector of the run; images are not kept.

        `cpp-pipe search` asks for it in place of loading the model itself.
        """
        opened = current.opened
        space_for(space, has_text=kind == "text")
        async with bodies.read(request, MAX_UPLOAD_BYTES) as data:

            def work() -> bytes:
                require_versions(opened, {"embeddings": embeddings, "heads": heads})
                return to_json(opened.finder.model.describe_query(data, kind, space))

            return json_response(await workers.run(work, kind="model"))

    async def embed_text(opened: OpenRun, text: str) -> Example:
        """A text as its embedding."""
        if not text.strip():
            raise QueryError("a text must not be empty")
        vector = await workers.run(opened.finder.model.embed_text, text.strip(), kind="model")
        return Example(kind="vector", value=vector[0])

    async def respond(
        opened: OpenRun,
        like: list[Example],
        space: Space,
        options: SearchOptions,
        text: str | None = None,
    ) -> Response:
        unlike = [Example(kind="row", value=row) for row in options.not_row]
        unlike += [await embed_text(opened, text) for text in options.not_text]
        question = Question(
            like=tuple(like),
            unlike=tuple(unlike),
            space=space,
            n=options.n,
            clusters=tuple(options.cluster),
            min_confidence=options.min_confidence,
            target_recall=options.target_recall,
            edits=_edits_for(opened, options.grouping),
        )

        texts = options.not_text if text is None else [text, *options.not_text]
        notes = await workers.run(opened.finder.model.describe_cuts, texts, kind="model")
        chance = None if text is None else await workers.run(opened.finder.chance, kind="model")

        def work() -> bytes:
            hits = _find_hits(opened, question)
            return to_json(hits.model_copy(update={"chance": chance, "notes": notes}))

        return json_response(await workers.run(work))


def require_versions(opened: OpenRun, versions: Mapping[str, str | None]) -> None:
    """QueryError if the open run holds another version of an artifact."""
    for slot, version in versions.items():
        if version is not None and opened.run.artifact(slot).version != version:
            raise QueryError(f"this server has opened other {slot}: ask again when it has reloaded")


def _edits_for(opened: OpenRun, grouping: str | None) -> str | None:
    """The decisions to apply to hits of a grouping; QueryError for one that hits cannot have."""
    if grouping is None or opened.clusters.grouping(grouping) is opened.clusters.groupings[0]:
        return None
    if grouping != DECIDED:
        first = opened.clusters.groupings[0].name
        raise QueryError(f"hits are of {first} or {DECIDED}, got {grouping[:40]!r}")
    return OPEN


def _find_hits(opened: OpenRun, question: Question, without: int | None = None) -> Hits:
    """The rows that answer a question, except one."""
    start = time.perf_counter()
    is_decided = question.edits is not None
    edited = opened.decided.edited if is_decided else None
    similarities, rows, query = opened.finder.answer(question, edited)
    seconds = time.perf_counter() - start
    if without is not None:
        kept = rows != without
        similarities, rows = similarities[kept][: question.n - 1], rows[kept][: question.n - 1]
    return Hits(
        space=cast(Space, question.where),
        hits=list_hits(opened, rows, similarities, decided=is_decided),
        seconds=round(seconds, 5),
        vector=encode_vector(query) if without is None else None,
    )
