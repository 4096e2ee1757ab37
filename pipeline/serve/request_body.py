"""The body of a request, read within a limit of bytes and of time."""

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from ...store import CppPipeError, QueryError

SECONDS = 30.0
"""For a whole body: 16 MiB in that time are 5 Mbit a second."""


class TooLarge(CppPipeError, ValueError):
    """A body over the limit."""


class TooSlow(CppPipeError, TimeoutError):
    """A body that did not arrive in time."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body of a request; raises TooLarge, TooSlow, or QueryError if the client disconnects."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise TooLarge(f"the body must have at most {max_bytes:,} bytes, got {int(declared):,}")
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise TooLarge(f"the body must have at most {max_bytes:,} bytes, got more")
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {SECONDS:g} seconds") from error
    except ClientDisconnect as error:
        raise QueryError("the client disconnected before the body was complete") from error
    return bytes(body)


async def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """The JSON object in the body, whatever content type the request declares."""
    body = await read_body(request, max_bytes)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise QueryError("the body is not JSON") from error
    if not isinstance(value, dict):
        raise QueryError("the body must be a JSON object")
    return value
