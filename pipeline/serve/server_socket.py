"""The socket that a server listens on: its address, and why one is not available."""

import contextlib
import errno
import ipaddress
import socket
import sys
from typing import Any

from ...store import ConfigError

_BACKLOG = 2048
"""Connections that wait to be accepted."""

_SEND_BUFFER_BYTES = 2**17
"""Bytes of a connection's buffer: with a round trip of 100 ms it sends 1.3 MB a second."""

_TRIED_PORTS = 100
"""Ports that are tried after one that is in use, until one is free."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; ConfigError with what to do if the address is not available."""
    address = _resolve(host, port)
    try:
        return _listen(*address)
    except PermissionError as error:
        raise ConfigError(
            f"--port {port} needs more rights than you have: try a port of 1024 or above"
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = _find_free(host, port)
            next_port = "" if free is None else f"--port {free}, which is free, or "
            raise ConfigError(
                f"--port {port} is in use: try {next_port}--port 0 for any that is free"
            ) from error
        raise ConfigError(
            f"--host {host} is not an address of this machine ({error.strerror}): leave it out "
            "to serve at 127.0.0.1, or give 0.0.0.0 for all addresses"
        ) from error


def address_of(listener: socket.socket, host: str) -> str:
    """The address to open in a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}/"


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:
        if not host.strip():
            raise ValueError("it is empty")
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    # A text that is no host name at all raises ValueError.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--host {host!r} is not a name or an address that this machine knows ({reason}): "
            "leave it out to serve at 127.0.0.1"
        ) from error
    return family, address


def _listen(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    # asyncio sets TCP_NODELAY only if the protocol is named. Without it, the body of an answer
    # waits 40 ms for the client's system to acknowledge the headers.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there it would share the port with other programs
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. With the default, the system buffers megabytes for a client that
        # does not read, so that it takes long to notice such a client.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(address)
        # From here on connections wait to be accepted and are not refused.
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _find_free(host: str, port: int) -> int | None:
    """The next port that is free, if there is one nearby."""
    for other in range(port + 1, min(port + _TRIED_PORTS, 65_536)):
        with contextlib.suppress(OSError), _listen(*_resolve(host, other)):
            return other
    return None
