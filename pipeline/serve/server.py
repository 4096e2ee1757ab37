"""The server: its timeouts for slow clients, and its limits of connections."""

import asyncio
import contextlib
import functools
import socket
import sys
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .. import signals
from .delivery import busy

HEADER_SECONDS = 15.0
"""Seconds from the connection, or a request's first byte, until the headers are complete."""

WRITE_SECONDS = 30.0
"""Seconds for a client to read enough for the next piece: a few kilobytes a second."""

_BUFFER_BYTES = 2**15
"""Bytes in the buffer of a connection; the next piece waits until it is nearly empty."""

_IDLE_SECONDS = 20
"""Seconds that a connection stays open between two requests."""

_GRACE_SECONDS = 2
"""Seconds for the answers that are being sent when the server ends."""

_ANSWERED = 0.75
"""Share of the allowed connections that are answered; requests on the others get a 503."""

_MAX_FILES = 4096
"""Open files and connections, if the system allows that many."""

_SPARE_FILES = 256
"""Those among them that are not connections: shards, indexes, tables."""


class TimedProtocol(H11Protocol):
    """HTTP with timeouts: uvicorn itself waits without one for the rest of a request, and for a
    client that does not read its answer."""

    def __init__(self, *args: Any, max_connections: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._max_connections = max_connections

    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        if len(self.connections) > self._max_connections:
            transport.abort()
        elif len(self.connections) > self._max_connections * _ANSWERED:
            self.app = busy
        self._await_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(_GRACE_SECONDS, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        # `close` waits until the client has read everything, which it may never do.
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _stop_write_timer(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _await_request(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server that is not running yet."""
    max_connections = _raise_file_limit() - _SPARE_FILES
    settings: dict[str, Any] = {
        "http": functools.partial(TimedProtocol, max_connections=max_connections),
        "ws": "none",
        "lifespan": "on",
        # Warnings are about what clients send, so that anybody could fill the log.
        "log_level": "error",
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "timeout_keep_alive": _IDLE_SECONDS,
        "timeout_graceful_shutdown": _GRACE_SECONDS + 1,
    }
    return uvicorn.Server(uvicorn.Config(app, **settings))


def serve_until_signal(app: ASGIApp, *listening: socket.socket) -> None:
    """Serves on sockets until Ctrl-C, SIGTERM or SIGHUP.

    uvicorn finishes open requests and then raises the signal again.
    """
    before = signals.stop_as_ctrl_c()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            make_server(app).run([*listening])
    finally:
        signals.restore(before)


def _raise_file_limit() -> int:
    """Raises the limit of open files as far as allowed; returns the limit."""
    if sys.platform == "win32":
        return _MAX_FILES  # Windows has no limit that a process could raise
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft < target:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(2 * _SPARE_FILES, min(limit, _MAX_FILES))
