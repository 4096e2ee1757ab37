"""The server: its socket, its timeouts for slow clients, and its limit of connections."""

import asyncio
import contextlib
import signal
import socket
import sys
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...store import ConfigError

HEADER_SECONDS = 15.0
"""From the connection, or the first byte of a request, until the headers are complete."""

_IDLE_SECONDS = 20
"""How long a connection stays open between two requests."""

_MAX_FILES = 16_384
"""Open files and connections, where the system allows that many."""

_SPARE_FILES = 256
"""Of these, files that are not connections: shards, indexes, tables."""

_BACKLOG = 2048
"""Connections that wait to be accepted."""

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Names by which only this machine reaches itself."""


class TimedProtocol(H11Protocol):
    """HTTP with a timeout: uvicorn itself waits for the rest of a request without one."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

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


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; ConfigError if the address is not available."""
    listening = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # From here on connections wait to be accepted and are not refused.
        listening.listen(_BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise ConfigError(
            f"--host {host} --port {port} is not available ({error.strerror}): "
            "try another --port, or --port 0 for any that is free"
        ) from error
    return listening


def address_of(listening: socket.socket, host: str) -> str:
    """The address to open in a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}/"


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host in LOCAL or host.startswith("127.")


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server that is not running yet."""
    settings: dict[str, Any] = {
        "http": TimedProtocol,
        "ws": "none",
        "lifespan": "on",
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "timeout_keep_alive": _IDLE_SECONDS,
        "timeout_graceful_shutdown": 3,
        "backlog": _BACKLOG,
        "limit_concurrency": _raise_file_limit() - _SPARE_FILES,
    }
    return uvicorn.Server(uvicorn.Config(app, **settings))


def serve_until_signal(app: ASGIApp, listening: socket.socket) -> None:
    """Serves until Ctrl-C or SIGTERM.

    uvicorn finishes open requests and then raises the signal again.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            make_server(app).run([listening])
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise_file_limit() -> int:
    """Raises the limit of open files as far as allowed; returns the limit."""
    if sys.platform == "win32":
        return _MAX_FILES  # no limit that a process could raise
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft < target:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return max(2 * _SPARE_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
