"""Progress of worker processes, shown by the process that started them."""

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ...stages.contract import Progress, Spent

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

_POLL_SECONDS = 0.2
"""Between two checks whether the workers have ended."""

_PATIENCE_SECONDS = 5.0
"""To read the last messages of ended workers; a killed one may leave a partial message."""


class QueueProgress:
    """Progress in a worker process, sent to the process that started it."""

    def __init__(self, messages: "Queue[Any]") -> None:
        self._messages = messages

    def start(self, what: str, total: int, unit: str) -> None:
        """Starts a count; only the first start of all workers counts."""
        self._send("start", what, total, unit)

    def revise(self, total: int) -> None:
        """Replaces the total by the mean of the workers' estimates."""
        self._send("revise", total)

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count."""
        self._send("advance", done, skipped=skipped, note=note, spent=dict(spent or {}))

    def parts(self, done: int, total: int) -> None:
        """Does nothing: the starting process counts parts itself."""

    def end(self) -> None:
        """Does nothing: the starting process ends the count of all workers."""

    def report(self, line: str) -> None:
        """Prints a message."""
        self._send("report", line)

    def _send(self, name: str, *values: Any, **named: Any) -> None:
        self._messages.put((os.getpid(), name, values, named))


@contextmanager
def forwarded_progress(progress: Progress) -> Iterator[QueueProgress]:
    """Yields progress for worker processes, which is passed on to `progress`.

    The workers must end before the block does, or messages may be lost.
    """
    from multiprocessing import get_context

    messages: Queue[Any] = get_context("spawn").Queue()
    is_over = threading.Event()
    thread = threading.Thread(target=_pass_on, args=(messages, progress, is_over), daemon=True)
    thread.start()
    try:
        yield QueueProgress(messages)
    finally:
        is_over.set()
        thread.join(_PATIENCE_SECONDS)


def _pass_on(messages: "Queue[Any]", progress: Progress, is_over: threading.Event) -> None:
    """Passes messages on until the workers have ended and the queue is empty.

    A line that several workers report is passed on from the first of them only.
    """
    totals: dict[int, int] = {}
    reported_by: dict[str, int] = {}
    is_started = False
    while True:
        try:
            worker, name, values, named = messages.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if is_over.is_set():
                return
            continue
        if name == "revise":
            totals[worker] = values[0]
            values = (round(sum(totals.values()) / len(totals)),)
        if name == "report" and reported_by.setdefault(str(values[0]), worker) != worker:
            continue
        if name != "start" or not is_started:
            # Where nothing can be shown, this process says so itself. A worker whose messages
            # nobody takes would never end.
            with suppress(OSError):
                getattr(progress, name)(*values, **named)
        is_started = is_started or name == "start"
