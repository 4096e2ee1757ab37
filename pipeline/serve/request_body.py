"""The bodies of requests, read within a limit of bytes and of time."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect, Request

from ...store import CppPipeError, QueryError

SECONDS = 30.0
"""Seconds for a whole body: 16 MiB in that time are 5 Mbit a second."""

MAX_TOGETHER_BYTES = 64 * 2**20
"""Bytes of all bodies together that are received or used at the same time."""


class TooLarge(CppPipeError, ValueError):
    """A body over the limit."""


class TooSlow(CppPipeError, TimeoutError):
    """A body that did not arrive in time."""


class Busy(CppPipeError, RuntimeError):
    """A request that there is no room for now."""


class Bodies:
    """The bodies that are in memory."""

    def __init__(self) -> None:
        self._max_bytes = MAX_TOGETHER_BYTES
        self._bytes = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """The body of a request, which counts as in memory until the end of the block.

        Raises TooLarge, TooSlow, Busy, or QueryError if the client disconnects.
        """
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > max_bytes:
            raise TooLarge(f"the body must have at most {max_bytes:,} bytes, got {int(declared):,}")
        body = bytearray()
        try:
            await self._receive(request, body, max_bytes)
            yield bytes(body)
        finally:
            self._bytes -= len(body)

    async def _receive(self, request: Request, body: bytearray, max_bytes: int) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                async for chunk in request.stream():
                    if self._bytes + len(chunk) > self._max_bytes:
                        raise Busy("the server has too many uploads at once: try again")
                    self._bytes += len(chunk)
                    body += chunk
                    if len(body) > max_bytes:
                        raise TooLarge(f"the body must have at most {max_bytes:,} bytes, got more")
        except TimeoutError as error:
            raise TooSlow(f"the body did not arrive within {SECONDS:g} seconds") from error
        except ClientDisconnect as error:
            raise QueryError("the client disconnected before the body was complete") from error


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, whatever content type the request declares."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise QueryError("the body is not JSON") from error
    if not isinstance(value, dict):
        raise QueryError("the body must be a JSON object")
    return value
