"""From what threads work out to what is sent, and from errors to what they say."""

import gzip
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...store import ConfigError, MissingError, QueryError, StoreError
from .bodies import TooLarge, TooSlow
from .finder import ModelTrouble
from .models import Trouble
from .plain import plain

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_THREADS = {"quick": 8, "pictures": 8, "model": 2, "small": 1}
"""Threads for each kind of work: what waits for one kind does not keep another from being done."""

_GZIP_OVER = 2_000
"""Bytes from which an answer is packed."""

TROUBLES: dict[int | str, dict[str, Any]] = {
    code: {"model": Trouble, "description": why}
    for code, why in {
        400: "a query that cannot be answered",
        401: "no token, where one is needed",
        403: "a name that is not this machine's",
        404: "there is no such thing, or what held it is gone",
        408: "what was sent did not come in time",
        413: "what was sent is too large",
        422: "a parameter of the wrong form",
        503: "the store or the model cannot be read now",
    }.items()
}

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (TooLarge, 413),
    (TooSlow, 408),
    (MissingError, 404),
    (QueryError, 400),
    (ConfigError, 400),
    (ModelTrouble, 503),
    (StoreError, 503),
    # A store that is being removed while it is read.
    (OSError, 503),
)


class Closeable(Protocol):
    """What goes on by itself until it is closed."""

    def close(self) -> None:
        """Ends it."""
        ...


_Closeable = TypeVar("_Closeable", bound=Closeable)


class Workers:
    """Threads that work out answers, and what else works beside them."""

    def __init__(self) -> None:
        self._limiters = {kind: anyio.CapacityLimiter(count) for kind, count in _THREADS.items()}
        self._closed_with: list[Closeable] = []

    async def run(self, work: Callable[..., _Result], *args: Any, kind: str = "quick") -> _Result:
        """What `work` returns, done in a thread of its kind."""
        return await anyio.to_thread.run_sync(work, *args, limiter=self._limiters[kind])

    def also_close(self, one: _Closeable) -> _Closeable:
        """Has something closed with these."""
        self._closed_with.append(one)
        return one

    def close(self) -> None:
        """Ends what works beside the threads."""
        for one in self._closed_with:
            one.close()


def answer(model: BaseModel) -> bytes:
    """A model as JSON."""
    return model.model_dump_json().encode()


class Packed:
    """JSON that is asked for often: kept as it is, and packed."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.packed = gzip.compress(body, 6, mtime=0) if len(body) > _GZIP_OVER else None

    def response(self, request: Request) -> Response:
        """The answer as the request takes it."""
        takes = request.headers.get("accept-encoding", "")
        if self.packed is not None and "gzip" in takes:
            return json_response(
                self.packed, {"content-encoding": "gzip", "vary": "accept-encoding"}
            )
        return json_response(self.body)


def json_response(body: bytes, headers: dict[str, str] | None = None) -> Response:
    """JSON that nobody keeps: the run may change."""
    return Response(
        body,
        media_type="application/json",
        headers={"cache-control": "no-store", **(headers or {})},
    )


def _trouble(code: int, detail: str) -> Response:
    return JSONResponse({"detail": plain(detail)}, code, {"cache-control": "no-store"})


def add_error_handlers(app: FastAPI) -> None:
    """Errors that a user can act on say so; any other one is a bug, and logged as such."""

    async def told(request: Request, error: Exception) -> Response:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        return _trouble(code, str(error))

    async def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError), "it is registered for these alone"
        told = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        return _trouble(422, "; ".join(told))

    async def by_code(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "it is registered for these alone"
        return _trouble(error.status_code, str(error.detail))

    async def bug(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _trouble(500, "the server failed: its log says where")

    for kind, _ in _CODES:
        app.add_exception_handler(kind, told)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, by_code)
    app.add_exception_handler(Exception, bug)
