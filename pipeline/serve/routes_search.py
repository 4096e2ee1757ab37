"""Routes of images, their pictures and neighbours, and of search."""

import time
from typing import Annotated, Literal, cast

from fastapi import FastAPI, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ...store import QueryError
from ..view.query import Example, Question, space_for
from .answers import TROUBLES, Workers, answer, json_response
from .bodies import read_body
from .detail import describe_image, list_found
from .finder import MOST_UPLOAD, to_token
from .models import MOST_ROWS, Asked, AskedByAddress, Hits, ImageFacts, Space
from .opened import Current, Opened
from .pictures import MEDIA_TYPES

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
            like = (Example(kind="row", value=row),)
            question = Question(like=like, space=space, n=n + 1)
            return answer(_hits(opened, question, without=row))

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
    async def search(asked: Annotated[AskedByAddress, Query()]) -> Response:
        """The rows that are nearest to a text, a row, or a vector."""
        text, row, vector = asked.text, asked.row, asked.vector
        given = [value for value in (text, row, vector) if value is not None]
        if len(given) != 1:
            raise QueryError(f"one of text, row and vector is needed, {len(given)} were given")
        opened = current.opened
        has_text = text is not None or bool(asked.not_text)
        space = cast(Space, space_for(asked.space, has_text=has_text))
        if text is not None:
            like = await _of_text(opened, text)
        elif row is not None:
            like = Example(kind="row", value=row)
        else:
            assert vector is not None, "one of three is given"
            like = Example(kind="vector", value=opened.finder.of_token(vector, space))
        return await _answered(opened, like, space, asked)

    @app.post(
        "/api/search",
        response_model=Hits,
        responses=TROUBLES,
        tags=["search"],
        openapi_extra=_UPLOAD,
    )
    async def search_picture(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        """The rows that are nearest to a picture: its bytes are the body, and are not kept."""
        data = await read_body(request, MOST_UPLOAD)
        opened = current.opened
        space = cast(Space, space_for(asked.space, has_text=bool(asked.not_text)))
        picture = await workers.run(opened.finder.model.picture, data, space, kind="model")
        return await _answered(opened, Example(kind="vector", value=picture[0]), space, asked)

    async def _of_text(opened: Opened, text: str) -> Example:
        """A text as the vector that the model makes of it."""
        if not text.strip():
            raise QueryError("a text must not be empty")
        found = await workers.run(opened.finder.model.text, text.strip(), kind="model")
        return Example(kind="vector", value=found[0])

    async def _answered(opened: Opened, like: Example, space: Space, asked: Asked) -> Response:
        unlike = [Example(kind="row", value=number) for number in asked.not_row]
        unlike += [await _of_text(opened, one) for one in asked.not_text]
        question = Question(
            like=(like,),
            unlike=tuple(unlike),
            space=space,
            n=asked.n,
            clusters=tuple(asked.cluster),
            min_confidence=asked.min_confidence,
            target_recall=asked.target_recall,
        )
        return json_response(await workers.run(lambda: answer(_hits(opened, question))))


def _hits(opened: Opened, question: Question, without: int | None = None) -> Hits:
    """The rows that answer a question, but for one."""
    began = time.perf_counter()
    similarities, rows, query = opened.finder.answer(question)
    seconds = time.perf_counter() - began
    if without is not None:
        kept = rows != without
        similarities, rows = similarities[kept][: question.n - 1], rows[kept][: question.n - 1]
    return Hits(
        space=cast(Space, question.where),
        hits=list_found(opened, rows, similarities),
        seconds=round(seconds, 5),
        vector=to_token(query) if without is None else None,
    )
