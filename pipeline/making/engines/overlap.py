"""Makes parts at the same time, each in a thread that starts when the previous part allows it."""

import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

from ....stages.contract import Part, Progress, Runtime, Spent
from ....store import PartRecord

_MOST_THREADS = 64
"""Parts made at once: a batch on a GPU may hold images of that many folders."""

_PATIENCE_SECONDS = 5.0
"""How long an interrupted command waits for its threads to end, e.g. during a download."""


def make_overlapping(
    parts: Sequence[Part],
    attempt: Callable[[Part, Runtime], PartRecord | None],
    runtime: Runtime,
) -> Generator[tuple[Part, PartRecord | None]]:
    """Yields each part with the result of `attempt`, in the order in which they end.

    An error is raised after all parts that started before the failed one are done, so their work is
    not lost. Parts that started later are stopped.
    """
    threads = _Threads(attempt, runtime)
    waiting, may_start = list(reversed(parts)), True
    error: BaseException | None = None
    try:
        while waiting or threads.running:
            if waiting and may_start and len(threads.running) < _MOST_THREADS:
                part = waiting.pop()
                threads.start(part, has_next=bool(waiting))
                may_start = False
                continue
            event = threads.events.get()
            if event is None:
                may_start = True
                continue
            number, part, outcome = event
            del threads.running[number]
            if not isinstance(outcome, BaseException):
                yield part, outcome
            elif not isinstance(outcome, _Stopped):
                error = outcome  # of several errors, that of the thread that started first
                threads.stop_after(number)
                waiting = []
    finally:
        threads.stop()
    if error is not None:
        raise error


class _Stopped(Exception):
    """Ends a thread whose part is no longer needed."""


class _Threads:
    """Threads that make one part each."""

    def __init__(
        self, attempt: Callable[[Part, Runtime], PartRecord | None], runtime: Runtime
    ) -> None:
        self.events: queue.SimpleQueue[tuple[int, Part, Any] | None] = queue.SimpleQueue()
        """The number of an ended thread, its part, and the record or the error; None when the next
        part may start."""
        self.running: dict[int, threading.Thread] = {}
        """The threads that have not reported their end, by number."""
        self._attempt = attempt
        self._runtime = runtime
        self._started = 0
        self._last = math.inf
        """Threads with higher numbers must stop."""

    def start(self, part: Part, *, has_next: bool) -> None:
        """Starts to make a part; `has_next` says whether another part waits."""
        number = self._started
        self._started += 1
        # A daemon, because an interrupted command must not wait for the download of a shard.
        thread = threading.Thread(target=self._make, args=(number, part, has_next), daemon=True)
        thread.start()  # may raise: only a thread that runs can be waited for
        self.running[number] = thread

    def stop_after(self, number: int) -> None:
        """Stops the threads with higher numbers when they next report progress."""
        self._last = min(self._last, number)

    def stop(self) -> None:
        """Stops all threads when they next report progress, and waits a moment for them."""
        self.stop_after(-1)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for thread in self.running.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _make(self, number: int, part: Part, has_next: bool) -> None:
        has_allowed_next = False

        def check() -> None:
            if number > self._last:
                raise _Stopped

        def begin_next() -> bool:
            nonlocal has_allowed_next
            check()
            if not has_allowed_next:
                has_allowed_next = True
                self.events.put(None)
            return has_next

        progress = _StoppableProgress(self._runtime.progress, check)
        runtime = replace(self._runtime, progress=progress, begin_next=begin_next)
        try:
            outcome = self._attempt(part, runtime)
        except BaseException as error:  # noqa: BLE001 - raised by `make_overlapping`
            outcome = error
        self.events.put((number, part, outcome))
        if not has_allowed_next:
            self.events.put(None)


class _StoppableProgress:
    """Passes progress on; `check` raises in the reporting thread if its part must stop."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress = progress
        self._check = check

    def start(self, what: str, total: int, unit: str) -> None:
        """Passes this on."""
        self._check()
        self._progress.start(what, total, unit)

    def revise(self, total: int) -> None:
        """Passes this on."""
        self._check()
        self._progress.revise(total)

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Passes this on."""
        self._check()
        self._progress.advance(done, skipped=skipped, note=note, spent=spent)

    def parts(self, done: int, total: int) -> None:
        """Passes this on."""
        self._progress.parts(done, total)

    def end(self) -> None:
        """Passes this on."""
        self._progress.end()

    def report(self, line: str) -> None:
        """Passes this on."""
        self._progress.report(line)
