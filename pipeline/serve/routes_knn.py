"""Search in the format of clip-retrieval's back end, so that its clients work here too."""

import base64
import binascii
import json
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from ...store import QueryError
from ..view.query import Example, Question
from .finder import MAX_UPLOAD_BYTES
from .models import MAX_ROWS, MAX_TEXT
from .open_run import CurrentRun, OpenRun
from .request_body import Bodies, parse_json
from .responses import ERROR_RESPONSES, json_response
from .workers import Workers

_MAX_BODY_BYTES = MAX_UPLOAD_BYTES * 4 // 3 + 2**16
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


def add_knn_routes(app: FastAPI, current: CurrentRun, workers: Workers, bodies: Bodies) -> None:
    """Adds the routes to the application."""

    @app.get(
        "/indices-list",
        response_model=list[str],
        responses=ERROR_RESPONSES,
        tags=["clip-retrieval"],
    )
    async def indices() -> Response:
        """The only index, named as the run."""
        return json_response(json.dumps([current.opened.run.record.name]).encode())

    @app.post(
        "/knn-service",
        response_model=list[dict[str, Any]],
        responses=ERROR_RESPONSES,
        tags=["clip-retrieval"],
        openapi_extra=_body(_EXAMPLE),
    )
    async def knn(request: Request) -> Response:
        """The rows nearest to a text, an image in base64, or an embedding, among raw embeddings.

        As in clip-retrieval, `deduplicate` leaves out near-duplicates, and `num_images` limits the
        rows. There are no safety and aesthetic models, and their flags are ignored.
        """
        opened = current.opened
        async with bodies.read(request, _MAX_BODY_BYTES) as body:
            query = await workers.run(parse_json, body, kind="bodies")
            _check_index(opened, query)
            shown = _read_count(query, "num_images", 40)
            n = _read_count(query, "num_result_ids", shown)
            vector = await embed(opened, query)
        deduplicate = bool(query.get("deduplicate", False))

        def work() -> bytes:
            return json.dumps(_search(opened, vector, n, deduplicate)[:shown]).encode()

        return json_response(await workers.run(work))

    @app.post(
        "/metadata-service",
        response_model=list[dict[str, Any]],
        responses=ERROR_RESPONSES,
        tags=["clip-retrieval"],
        openapi_extra=_body({"ids": [0, 1], "indice_name": "default"}),
    )
    async def metadata(request: Request) -> Response:
        """The fields of rows, by their numbers."""
        opened = current.opened
        async with bodies.read(request, 2**20) as body:
            query = await workers.run(parse_json, body, kind="bodies")
        _check_index(opened, query)
        ids = query.get("ids")
        if not isinstance(ids, list) or len(ids) > MAX_ROWS or not all(map(_is_count, ids)):
            raise QueryError(f"ids must be a list of at most {MAX_ROWS} row numbers")
        for row in ids:
            if row >= len(opened.rows):
                raise QueryError(f"ids must be from 0 to {len(opened.rows) - 1}, got {row}")

        def work() -> bytes:
            rows = [
                {"id": row, "metadata": fields}
                for row, fields in zip(ids, opened.rows.read(ids, _COLUMNS), strict=True)
            ]
            return json.dumps(rows).encode()

        return json_response(await workers.run(work))

    async def embed(opened: OpenRun, query: dict[str, Any]) -> np.ndarray:
        model = opened.finder.model
        text, image = query.get("text"), query.get("image")
        if query.get("image_url"):
            raise QueryError("image_url is not fetched: send the image itself as `image`")
        if text:
            if not isinstance(text, str) or len(text) > MAX_TEXT or _has_surrogates(text):
                raise QueryError(f"text must be a valid string of at most {MAX_TEXT} characters")
            return await workers.run(model.embed_text, text, kind="model")
        if image:
            return await workers.run(
                lambda: model.embed_image(_decode(image), "embeddings"), kind="model"
            )
        if query.get("embedding_input"):
            numbers = await workers.run(_read_numbers, query["embedding_input"], kind="bodies")
            return numbers[None]
        raise QueryError("give one of text, image and embedding_input")


def _check_index(opened: OpenRun, query: dict[str, Any]) -> None:
    name, own = query.get("indice_name"), opened.run.record.name
    if name is not None and name != own:
        raise QueryError(f"indice_name must be {own!r}, got {str(name)[:40]!r}")
    modality = query.get("modality", "image")
    if modality != "image":
        raise QueryError(f"modality must be 'image', got {str(modality)[:40]!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_count(query: dict[str, Any], name: str, default: int) -> int:
    value = query.get(name, default)
    if not _is_count(value) or value == 0:
        raise QueryError(f"{name} must be a whole number of at least 1, got {str(value)[:40]}")
    return min(value, MAX_ROWS)


def _has_surrogates(text: str) -> bool:
    """Whether a text holds lone surrogates, which JSON allows and UTF-8 does not."""
    return any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _decode(image: Any) -> bytes:
    try:
        data = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise QueryError("image is not valid base64") from error
    if len(data) > MAX_UPLOAD_BYTES:
        raise QueryError(f"image must have at most {MAX_UPLOAD_BYTES:,} bytes, got {len(data):,}")
    return data


def _read_numbers(value: Any) -> np.ndarray:
    try:
        return np.asarray(value, np.float64).reshape(-1)
    except (ValueError, TypeError, OverflowError) as error:
        raise QueryError("embedding_input must be a list of numbers") from error


def _search(opened: OpenRun, vector: np.ndarray, n: int, deduplicate: bool) -> list[dict[str, Any]]:
    like = (Example(kind="vector", value=vector[0]),)
    similarities, rows, _ = opened.finder.answer(Question(like=like, space="embeddings", n=n))
    if deduplicate and len(rows):
        x = opened.finder.read(rows, "embeddings").astype(np.float32)
        kept = drop_duplicates(x @ x.T)
        similarities, rows = similarities[kept], rows[kept]
    return [
        {**fields, "id": int(row), "similarity": float(similarity)}
        for row, similarity, fields in zip(
            rows, similarities, opened.rows.read(rows.tolist(), _COLUMNS), strict=True
        )
    ]


_DUPLICATE_COSINE = 0.94
"""Above it clip-retrieval takes two images for duplicates."""


def drop_duplicates(cosines: np.ndarray) -> list[int]:
    """The first row of each group of rows that are linked by cosines of duplicates."""
    kept, seen = [], set()
    for row in range(len(cosines)):
        if row in seen:
            continue
        kept.append(row)
        pending = [row]
        while pending:
            member = pending.pop()
            seen.add(member)
            linked = (cosines[member] > _DUPLICATE_COSINE).nonzero()[0].tolist()
            pending += [other for other in linked if other not in seen]
    return kept
