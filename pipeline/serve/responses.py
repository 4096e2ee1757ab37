"""Responses: models as JSON, and errors as status codes with a message."""

import gzip
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...store import ConfigError, MissingError, QueryError, StoreError
from .delivery import RETRY_SECONDS
from .finder import ModelUnavailable
from .json_values import to_json_value
from .models import Trouble
from .request_body import Busy, TooLarge, TooSlow
from .single_flight import SingleFlight
from .write_access import Forbidden

log = logging.getLogger(__name__)

_GZIP_OVER = 2_000
"""Bytes above which an answer is compressed."""

FOREVER = "private, max-age=31536000, immutable"
"""The `cache-control` of what never changes at its address."""

_CACHE_BYTES = 32 * 2**20
"""Bytes of answers in memory: a few thousand clusters in full."""

_MAX_SEEN = 1000
"""Messages that are not logged again."""

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Trouble, "description": reason}
    for code, reason in {
        400: "The query cannot be answered.",
        401: "A token is required.",
        403: "The host name is not one of this machine, or the request may change nothing.",
        404: "There is no such thing, or the file that held it is gone.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        422: "A parameter has the wrong form.",
        503: "The store or the model cannot be read now, or the server is busy.",
    }.items()
}

BINARY = "application/octet-stream"

NUMBERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "numbers, little-endian",
        "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""The response of a route that sends an array."""

_STATUS_CODES: tuple[tuple[type[Exception], int], ...] = (
    (Forbidden, 403),
    (TooLarge, 413),
    (TooSlow, 408),
    (Busy, 503),
    (MissingError, 404),
    (QueryError, 400),
    (ConfigError, 400),
    (ModelUnavailable, 503),
    (StoreError, 503),
    # A store may be removed while it is read.
    (OSError, 503),
)


def to_json(model: BaseModel) -> bytes:
    """A model as JSON."""
    return model.model_dump_json().encode()


class CachedAnswer:
    """An answer that is the same for every client; JSON is held both plain and compressed."""

    def __init__(self, body: bytes, media_type: str = "application/json") -> None:
        is_compressed = media_type == "application/json" and len(body) > _GZIP_OVER
        self._body, self._media_type = body, media_type
        self._compressed = gzip.compress(body, 6, mtime=0) if is_compressed else None
        self.size = len(body) + len(self._compressed or b"")
        """Bytes in memory."""

    def response(self, request: Request) -> Response:
        """The response, compressed if the request accepts that."""
        accepted = request.headers.get("accept-encoding", "")
        if self._compressed is not None and "gzip" in accepted:
            headers = {"content-encoding": "gzip", "vary": "accept-encoding"}
            return Response(self._compressed, headers=headers, media_type=self._media_type)
        return Response(self._body, media_type=self._media_type)


class CachedAnswers:
    """Answers by name; the least recently used are dropped. Safe to call from any thread."""

    def __init__(self, max_bytes: int = _CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, CachedAnswer] = OrderedDict()
        self._bytes = 0
        self._flight: SingleFlight[CachedAnswer] = SingleFlight()
        self._lock = threading.Lock()

    def find(self, name: str) -> CachedAnswer | None:
        """An answer that is in memory."""
        with self._lock:
            answer = self._answers.get(name)
            if answer is not None:
                self._answers.move_to_end(name)
            return answer

    def get(self, name: str, make: Callable[[], CachedAnswer]) -> CachedAnswer:
        """An answer, made unless it is in memory; made once if several threads ask for it."""
        return self.find(name) or self._flight.do(name, lambda: self._make(name, make))

    def _make(self, name: str, make: Callable[[], CachedAnswer]) -> CachedAnswer:
        answer = self.find(name)  # another thread may have made it just before
        if answer is not None:
            return answer
        answer = make()
        with self._lock:
            self._answers[name] = answer
            self._bytes += answer.size
            while self._bytes > self._max_bytes and len(self._answers) > 1:
                self._bytes -= self._answers.popitem(last=False)[1].size
        return answer


def json_response(body: bytes) -> Response:
    """A response with JSON, which no client stores."""
    return Response(body, media_type="application/json")


def _error_response(code: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": to_json_value(detail)}, code, headers)


def add_error_handlers(
    app: FastAPI, *, shorten: Callable[[str], str], publish: Callable[[str], str]
) -> None:
    """Sends the message of an error that a user can act on; logs any other one as a bug.

    `publish` gives the message for clients. One whose paths `shorten` changes is logged whole.
    """
    messages_of_errors = _OnceLog()

    async def handle_known(request: Request, error: Exception) -> Response:
        code = next(code for kind, code in _STATUS_CODES if isinstance(error, kind))
        detail = str(error) or type(error).__name__
        if shorten(detail) != detail:
            messages_of_errors.add(detail)
        headers = {"retry-after": str(RETRY_SECONDS)} if isinstance(error, Busy) else None
        return _error_response(code, publish(detail), headers)

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
        # The path as it was sent: decoded, it could hold line breaks, and fake lines of the log.
        log.error("%s %s failed", request.method, request.scope["raw_path"], exc_info=error)
        return _error_response(500, "the server failed: see its log")

    for kind, _ in _STATUS_CODES:
        app.add_exception_handler(kind, handle_known)
    app.add_exception_handler(RequestValidationError, handle_invalid)
    app.add_exception_handler(HTTPException, handle_http)
    app.add_exception_handler(Exception, handle_bug)


class _OnceLog:
    """A log of messages, each once: a page of images whose folder is gone fails a hundred times."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def add(self, message: str) -> None:
        """Logs a message unless it is one of the latest."""
        if message in self._seen:
            return
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
        self._seen.add(message)
        log.warning("%s", " ".join(message.split()))
