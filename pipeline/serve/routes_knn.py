"""Search in the form of clip-retrieval's back end, so that its clients find rows here too."""

import base64
import binascii
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from ...store import QueryError
from ..view.query import Example, Question
from .answers import TROUBLES, Workers, json_response
from .bodies import read_json
from .finder import MOST_UPLOAD
from .models import MOST_ROWS, MOST_TEXT
from .opened import Current, Opened

_MOST_BODY = MOST_UPLOAD * 4 // 3 + 2**16
"""Base64 is longer by a third."""

_COLUMNS = ("key", "shard", "caption", "url", "width", "height", "label")

_EXAMPLE = {
    "text": "a red car",
    "image": None,
    "image_url": None,
    "embedding_input": None,
    "modality": "image",
    "num_images": 10,
    "indice_name": "default",
}


def _body(example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_knn_routes(app: FastAPI, current: Current, workers: Workers) -> None:
    """Adds them to the application."""

    @app.get("/indices-list", response_model=list[str], responses=TROUBLES, tags=["clip-retrieval"])
    async def indices() -> list[str]:
        """The run's name: the one index that there is."""
        return [current.opened.run.record.name]

    @app.post(
        "/knn-service",
        response_model=list[dict[str, Any]],
        responses=TROUBLES,
        tags=["clip-retrieval"],
        openapi_extra=_body(_EXAMPLE),
    )
    async def knn(request: Request) -> Response:
        """The rows nearest to a text, a picture in base64, or an embedding, among raw embeddings.

        As clip-retrieval's: `deduplicate` leaves out near copies; `num_images` rows come with what
        is known of them. Models of safety and of beauty are not here, and their flags are ignored.
        """
        asked = await read_json(request, _MOST_BODY)
        opened = current.opened
        _check_index(opened, asked)
        n = _count(asked, "num_result_ids", _count(asked, "num_images", 40))
        vector = await _vector(opened, asked)
        found = await workers.run(_search, opened, vector, n, bool(asked.get("deduplicate", False)))
        return json_response(_dump(found[: _count(asked, "num_images", 40)]))

    @app.post(
        "/metadata-service",
        response_model=list[dict[str, Any]],
        responses=TROUBLES,
        tags=["clip-retrieval"],
        openapi_extra=_body({"ids": [0, 1], "indice_name": "default"}),
    )
    async def metadata(request: Request) -> Response:
        """What is known of rows by their numbers."""
        asked = await read_json(request, 2**20)
        opened = current.opened
        _check_index(opened, asked)
        ids = asked.get("ids")
        if not isinstance(ids, list) or len(ids) > MOST_ROWS or not all(map(_is_count, ids)):
            raise QueryError(f"ids is a list of at most {MOST_ROWS} numbers of rows")
        beyond = [one for one in ids if one >= len(opened.rows)]
        if beyond:
            raise QueryError(f"there is no row {beyond[0]}: there are 0 to {len(opened.rows) - 1}")

        def work() -> list[dict[str, Any]]:
            return [
                {"id": row, "metadata": told}
                for row, told in zip(ids, opened.rows.read(ids, _COLUMNS), strict=True)
            ]

        return json_response(_dump(await workers.run(work)))

    async def _vector(opened: Opened, asked: dict[str, Any]):
        model = opened.finder.model
        text, image = asked.get("text"), asked.get("image")
        if asked.get("image_url"):
            raise QueryError("image_url is not fetched: send the picture itself as `image`")
        if text:
            if not isinstance(text, str) or len(text) > MOST_TEXT or not _is_whole(text):
                raise QueryError(f"text is no text of at most {MOST_TEXT} characters")
            return await workers.run(model.text, text, kind="model")
        if image:
            return await workers.run(model.picture, _decode(image), "embeddings", kind="model")
        if asked.get("embedding_input"):
            return _numbers(asked["embedding_input"])[None]
        raise QueryError("one of text, image and embedding_input is needed")


def _check_index(opened: Opened, asked: dict[str, Any]) -> None:
    name, there = asked.get("indice_name"), opened.run.record.name
    if name is not None and name != there:
        raise QueryError(f"there is no index {str(name)[:40]!r}: {there!r} is the one there is")
    if asked.get("modality", "image") != "image":
        raise QueryError("modality is not allowed: image is, as only pictures are indexed")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _count(asked: dict[str, Any], name: str, usual: int) -> int:
    value = asked.get(name, usual)
    if not _is_count(value) or value == 0:
        raise QueryError(f"{name} is not allowed: a number from 1 is")
    return min(value, MOST_ROWS)


def _is_whole(text: str) -> bool:
    """Whether a text has no half characters, as JSON can hold."""
    return all(not 0xD800 <= ord(one) <= 0xDFFF for one in text)


def _decode(image: Any) -> bytes:
    try:
        data = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise QueryError("image is not the base64 of anything") from error
    if len(data) > MOST_UPLOAD:
        raise QueryError(f"image has {len(data):,} bytes: {MOST_UPLOAD:,} are allowed")
    return data


def _numbers(value: Any):
    import numpy as np

    try:
        return np.asarray(value, np.float64).reshape(-1)
    except (ValueError, TypeError, OverflowError) as error:
        raise QueryError("embedding_input is no list of numbers") from error


def _search(opened: Opened, vector, n: int, deduplicate: bool) -> list[dict[str, Any]]:
    import numpy as np

    like = (Example(kind="vector", value=vector[0]),)
    similarities, rows, _ = opened.finder.answer(Question(like=like, space="embeddings", n=n))
    if deduplicate and len(rows):
        x = opened.finder.read(rows, "embeddings").astype(np.float32)
        kept = _without_copies(x @ x.T)
        similarities, rows = similarities[kept], rows[kept]
    return [
        {**told, "id": int(row), "similarity": float(similarity)}
        for row, similarity, told in zip(
            rows, similarities, opened.rows.read(rows.tolist(), _COLUMNS), strict=True
        )
    ]


_COPY = 0.94
"""Cosine from which clip-retrieval takes two pictures for copies."""


def _without_copies(cosines) -> list[int]:
    """The first of each group of rows that are linked by cosines of copies."""
    kept, seen = [], set()
    for row in range(len(cosines)):
        if row in seen:
            continue
        kept.append(row)
        group = [row]
        while group:
            one = group.pop()
            seen.add(one)
            near = (cosines[one] > _COPY).nonzero()[0].tolist()
            group += [other for other in near if other not in seen]
    return kept


def _dump(value: Any) -> bytes:
    import json

    return json.dumps(value).encode()
