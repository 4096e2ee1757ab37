"""The threads that compute answers, and what runs alongside them."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread

_Result = TypeVar("_Result")

_THREADS = {"quick": 8, "images": 8, "model": 2, "bodies": 2, "small": 1}
"""Threads for each kind of work, so that one kind does not block another."""


class Closeable(Protocol):
    """Something that runs until it is closed."""

    def close(self) -> None:
        """Ends it."""
        ...


_Closeable = TypeVar("_Closeable", bound=Closeable)


class Workers:
    """Threads that compute answers, and a list of what to close with them."""

    def __init__(self) -> None:
        self._limiters = {kind: anyio.CapacityLimiter(count) for kind, count in _THREADS.items()}
        self._closed_with: list[Closeable] = []

    async def run(self, work: Callable[..., _Result], *args: Any, kind: str = "quick") -> _Result:
        """The result of `work`, computed in a thread of its kind."""
        return await anyio.to_thread.run_sync(work, *args, limiter=self._limiters[kind])

    def also_close(self, resource: _Closeable) -> _Closeable:
        """Closes a resource together with the workers; returns it."""
        self._closed_with.append(resource)
        return resource

    def close(self) -> None:
        """Closes what was given to `also_close`."""
        for resource in self._closed_with:
            resource.close()
