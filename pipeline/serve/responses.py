"""Responses: models as JSON, and errors as status codes with a message."""

import gzip
import logging
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...store import ConfigError, MissingError, QueryError, StoreError
from .finder import ModelUnavailable
from .json_values import to_json_value
from .models import Trouble
from .request_body import TooLarge, TooSlow

log = logging.getLogger(__name__)

_GZIP_OVER = 2_000
"""Bytes above which an answer is compressed."""

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Trouble, "description": reason}
    for code, reason in {
        400: "The query cannot be answered.",
        401: "A token is required.",
        403: "The host name is not one of this machine.",
        404: "There is no such thing, or the file that held it is gone.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        422: "A parameter has the wrong form.",
        503: "The store or the model cannot be read now.",
    }.items()
}

_STATUS_CODES: tuple[tuple[type[Exception], int], ...] = (
    (TooLarge, 413),
    (TooSlow, 408),
    (MissingError, 404),
    (QueryError, 400),
    (ConfigError, 400),
    (ModelUnavailable, 503),
    (StoreError, 503),
    # A store that is removed while it is read.
    (OSError, 503),
)


def to_json(model: BaseModel) -> bytes:
    """A model as JSON."""
    return model.model_dump_json().encode()


class CachedJson:
    """JSON that is requested often: kept both plain and compressed."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._compressed = gzip.compress(body, 6, mtime=0) if len(body) > _GZIP_OVER else None

    def response(self, request: Request) -> Response:
        """The response, compressed if the request accepts that."""
        accepted = request.headers.get("accept-encoding", "")
        if self._compressed is not None and "gzip" in accepted:
            return json_response(
                self._compressed, {"content-encoding": "gzip", "vary": "accept-encoding"}
            )
        return json_response(self._body)


def json_response(body: bytes, headers: dict[str, str] | None = None) -> Response:
    """JSON that no client may store: the run may change."""
    return Response(
        body,
        media_type="application/json",
        headers={"cache-control": "no-store", **(headers or {})},
    )


def _error_response(code: int, detail: str) -> Response:
    return JSONResponse({"detail": to_json_value(detail)}, code, {"cache-control": "no-store"})


def add_error_handlers(app: FastAPI) -> None:
    """Sends the message of an error that a user can act on; logs any other one as a bug."""

    async def handle_known(request: Request, error: Exception) -> Response:
        code = next(code for kind, code in _STATUS_CODES if isinstance(error, kind))
        return _error_response(code, str(error))

    async def handle_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError), "registered for this class only"
        messages = [
            f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()
        ]
        return _error_response(422, "; ".join(messages))

    async def handle_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "registered for this class only"
        return _error_response(error.status_code, str(error.detail))

    async def handle_bug(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _error_response(500, "the server failed: see its log")

    for kind, _ in _STATUS_CODES:
        app.add_exception_handler(kind, handle_known)
    app.add_exception_handler(RequestValidationError, handle_invalid)
    app.add_exception_handler(HTTPException, handle_http)
    app.add_exception_handler(Exception, handle_bug)
