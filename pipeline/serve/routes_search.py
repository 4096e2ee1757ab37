"""Routes of images, their pictures and neighbours, and of search."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import FastAPI, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ...store import QueryError
from .answers import TROUBLES, Workers, answer, json_response
from .bodies import read_body
from .detail import describe_image, list_found
from .finding import MOST_UPLOAD, to_token
from .models import MOST_ROWS, MOST_TEXT, Hits, ImageFacts, Space
from .opened import Current, Opened
from .pictures import MEDIA_TYPES

if TYPE_CHECKING:
    import numpy as np

RowPath = Annotated[int, Path(ge=0, lt=2**31)]
CountFlag = Annotated[int, Query(ge=1, le=MOST_ROWS, description="How many rows.")]
SpaceFlag = Annotated[
    Space, Query(description="Refined features, or raw embeddings, where texts are.")
]
_PICTURE = {
    200: {
        "description": "the picture",
        "content": {
            one: {"schema": {"type": "string", "format": "binary"}}
            for one in ("image/jpeg", "image/png")
        },
    }
}
_ORIGINAL = {
    200: {
        "description": "the bytes",
        "content": {
            one: {"schema": {"type": "string", "format": "binary"}}
            for one in (*MEDIA_TYPES, "application/octet-stream")
        },
    }
}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

_FOREVER = "private, max-age=31536000, immutable"


def add_search_routes(app: FastAPI, current: Current, workers: Workers) -> None:
    """Adds them to the application."""

    @app.get("/api/images/{row}", response_model=ImageFacts, responses=TROUBLES, tags=["images"])
    async def image(row: RowPath) -> Response:
        """A row in full."""
        opened = current.opened
        return json_response(await workers.run(lambda: answer(describe_image(opened, row))))

    @app.get(
        "/api/images/{row}/neighbours", response_model=Hits, responses=TROUBLES, tags=["images"]
    )
    async def neighbours(
        row: RowPath, space: SpaceFlag = "features", n: CountFlag = 12
    ) -> Response:
        """The rows that are nearest to a row, but for itself."""
        opened = current.opened

        def work() -> bytes:
            describe_image(opened, row)
            vector = opened.finder.of_row(row, space)
            return answer(_hits(opened, vector, space, n, without=row))

        return json_response(await workers.run(work))

    @app.get("/api/rows", response_model=list[int], responses=TROUBLES, tags=["images"])
    async def rows(
        key: Annotated[str, Query(max_length=4096)],
        shard: Annotated[str | None, Query(max_length=4096)] = None,
    ) -> Response:
        """The rows of a key, in one shard or in all."""
        opened = current.opened
        found = await workers.run(opened.rows.find, key, shard)
        return json_response(str(found[:MOST_ROWS]).encode())

    @app.get(
        "/api/pictures/{row}",
        responses={**_PICTURE, **TROUBLES},
        tags=["images"],
        response_model=None,
    )
    async def picture(
        row: RowPath,
        request: Request,
        size: Annotated[
            Literal["128", "256", "1280"],
            Query(description="Pixels: of the shorter side, and for 1280 of the longer."),
        ] = "256",
        v: Annotated[
            str | None,
            Query(max_length=40, description="`generation`: with it a browser keeps the picture."),
        ] = None,
    ) -> Response:
        """The picture of a row, made small."""
        opened = current.opened
        tag = f'"{opened.embeddings.version}-{row}-{size}"'
        is_fixed = v == opened.generation
        headers = {"etag": tag, "cache-control": _FOREVER if is_fixed else "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        found = opened.pictures.find(row, int(size))
        if found is None:
            found = await workers.run(opened.pictures.get, row, int(size), kind="pictures")
        data, media_type = found
        return Response(data, media_type=media_type, headers=headers)

    @app.get(
        "/api/pictures/{row}/original",
        responses={**_ORIGINAL, **TROUBLES},
        tags=["images"],
        response_model=None,
    )
    async def original(row: RowPath) -> Response:
        """The bytes of a row's picture as they were embedded, to be saved."""
        pictures = current.opened.pictures
        data, media_type = await workers.run(pictures.original, row, kind="pictures")
        headers = {"content-disposition": f'attachment; filename="row-{row}"'}
        return Response(data, media_type=media_type, headers=headers)

    @app.get("/api/search", response_model=Hits, responses=TROUBLES, tags=["search"])
    async def search(
        text: Annotated[str | None, Query(max_length=MOST_TEXT, description="Words.")] = None,
        row: Annotated[int | None, Query(ge=0, lt=2**31, description="A row.")] = None,
        vector: Annotated[
            str | None,
            Query(max_length=32_768, description="What another search gave as its `vector`."),
        ] = None,
        space: Annotated[
            Space | None,
            Query(description="`embeddings` for texts, else `features` if absent."),
        ] = None,
        n: CountFlag = 24,
    ) -> Response:
        """The rows that are nearest to one query: a text, a row, or a vector."""
        given = [one for one in (text, row, vector) if one is not None]
        if len(given) != 1:
            raise QueryError(f"one of text, row and vector is needed, {len(given)} were given")
        opened, finder = current.opened, current.opened.finder
        if text is not None:
            if space == "features":
                raise QueryError("a text has no refined features: it is looked for in `embeddings`")
            if not text.strip():
                raise QueryError("an empty text is no query")
            query = await workers.run(finder.model.text, text.strip(), kind="model")
            return await _answered(opened, lambda: query, "embeddings", n)
        wanted: Space = space or "features"
        if row is not None:
            return await _answered(opened, lambda: finder.of_row(row, wanted), wanted, n)
        assert vector is not None, "one of three is given"
        return await _answered(opened, lambda: finder.of_token(vector, wanted), wanted, n)

    @app.post(
        "/api/search",
        response_model=Hits,
        responses=TROUBLES,
        tags=["search"],
        openapi_extra=_UPLOAD,
    )
    async def search_picture(
        request: Request, space: SpaceFlag = "features", n: CountFlag = 24
    ) -> Response:
        """The rows that are nearest to a picture: its bytes are the body, and are not kept."""
        data = await read_body(request, MOST_UPLOAD)
        opened = current.opened
        query = await workers.run(opened.finder.model.picture, data, space, kind="model")
        return await _answered(opened, lambda: query, space, n)

    async def _answered(
        opened: Opened, query: "Callable[[], np.ndarray]", space: Space, n: int
    ) -> Response:
        found = await workers.run(lambda: answer(_hits(opened, query(), space, n)))
        return json_response(found)


def _hits(
    opened: Opened, vector: "np.ndarray", space: Space, n: int, without: int | None = None
) -> Hits:
    """The nearest rows, but for one."""
    more = n if without is None else n + 1
    similarities, rows, seconds = opened.finder.nearest(vector, space, more)
    if without is not None:
        kept = rows != without
        similarities, rows = similarities[kept][:n], rows[kept][:n]
    return Hits(
        space=space,
        hits=list_found(opened, rows, similarities),
        seconds=round(seconds, 5),
        vector=to_token(vector) if without is None else None,
    )
