"""What a request carries: read up to a bound of bytes, and of time."""

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from ...store import CppPipeError, QueryError

SECONDS = 30.0
"""For a whole body: 16 MiB in them are 5 Mbit a second."""


class TooLarge(CppPipeError, ValueError):
    """A body over the limit."""


class TooSlow(CppPipeError, TimeoutError):
    """A body that did not come in time."""


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body of a request; raises TooLarge, TooSlow, or QueryError where it broke off."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most_bytes:
        raise TooLarge(f"what was sent has {declared} bytes: {most_bytes:,} are allowed")
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise TooLarge(f"what was sent has more than the {most_bytes:,} bytes allowed")
    except TimeoutError as error:
        raise TooSlow(f"what was sent did not come within {SECONDS:g} seconds") from error
    except ClientDisconnect as error:
        raise QueryError("what was sent broke off") from error
    return bytes(body)


async def read_json(request: Request, most_bytes: int) -> dict[str, Any]:
    """The JSON object that a request carries, whatever type it says that it has."""
    body = await read_body(request, most_bytes)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise QueryError("what was sent is no JSON") from error
    if not isinstance(value, dict):
        raise QueryError("what was sent is no JSON object")
    return value
