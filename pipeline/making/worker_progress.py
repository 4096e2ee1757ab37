"""Progress of worker processes, told in the process that started them."""

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...stages.contract import Progress, Spent

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

_EVERY_SECONDS = 0.2
"""Between two looks at whether the workers have ended."""

_PATIENCE_SECONDS = 5.0
"""For what workers have told when they have ended; only one that was killed leaves half a word."""


class QueueProgress:
    """Progress of a worker process, told to the process that started it."""

    def __init__(self, told: "Queue[Any]") -> None:
        self._told = told

    def start(self, what: str, total: int, unit: str) -> None:
        """Begins a count; of what all workers begin, the first counts."""
        self._tell("start", what, total, unit)

    def revise(self, total: int) -> None:
        """Replaces the total by the mean of what the workers think."""
        self._tell("revise", total)

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count."""
        self._tell("advance", done, skipped=skipped, note=note, spent=dict(spent or {}))

    def parts(self, done: int, total: int) -> None:
        """Ignored: who shares out the parts knows better."""

    def tell(self, line: str) -> None:
        """Says a line."""
        self._tell("tell", line)

    def _tell(self, name: str, *values: Any, **named: Any) -> None:
        self._told.put((os.getpid(), name, values, named))


@contextmanager
def gathered(progress: Progress) -> Iterator[QueueProgress]:
    """Progress that worker processes may be started with, and that ends up in `progress`.

    The workers must have ended before the block does, so that all they told is there.
    """
    from multiprocessing import get_context

    told: Queue[Any] = get_context("spawn").Queue()
    is_over = threading.Event()
    thread = threading.Thread(target=_drain, args=(told, progress, is_over), daemon=True)
    thread.start()
    try:
        yield QueueProgress(told)
    finally:
        is_over.set()
        thread.join(_PATIENCE_SECONDS)


def _drain(told: "Queue[Any]", progress: Progress, is_over: threading.Event) -> None:
    """Passes on what workers tell, until they have ended and nothing is left."""
    totals: dict[int, int] = {}
    is_started = False
    while True:
        try:
            worker, name, values, named = told.get(timeout=_EVERY_SECONDS)
        except queue.Empty:
            if is_over.is_set():
                return
            continue
        if name == "revise":
            totals[worker] = values[0]
            values = (round(sum(totals.values()) / len(totals)),)
        if name != "start" or not is_started:
            getattr(progress, name)(*values, **named)
        is_started = is_started or name == "start"
