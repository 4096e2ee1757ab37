"""Parts made beside one another: each in a thread, begun when the one before it allows that."""

import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

from ....stages.contract import Part, Progress, Runtime, Spent
from ....store import PartRecord

_MOST = 64
"""Parts at once: a batch on a GPU may hold that many folders of one image."""

_PATIENCE_SECONDS = 5.0
"""How long an interrupted command waits for its threads to end, e.g. during a download."""


def overlapping(
    parts: Sequence[Part],
    attempt: Callable[[Part, Runtime], PartRecord | None],
    runtime: Runtime,
) -> Generator[tuple[Part, PartRecord | None]]:
    """The parts with what `attempt` gives for each, as they end.

    An error is raised once the parts that were begun before are done: nothing of their work is
    lost. Those that were begun later end at once.
    """
    threads = _Threads(attempt, runtime)
    waiting, may_begin = list(reversed(parts)), True
    error: BaseException | None = None
    try:
        while waiting or threads.running:
            if waiting and may_begin and len(threads.running) < _MOST:
                part = waiting.pop()
                threads.begin(part, follows=bool(waiting))
                may_begin = False
                continue
            event = threads.events.get()
            if event is None:
                may_begin = True
                continue
            number, part, record = event
            del threads.running[number]
            if not isinstance(record, BaseException):
                yield part, record
            elif not isinstance(record, _Stopped):
                error = record  # of several the one that was begun first
                threads.stop_after(number)
                waiting = []
    finally:
        threads.stop()
    if error is not None:
        raise error


class _Stopped(Exception):
    """Ends a thread whose part is no longer wanted."""


class _Threads:
    """Threads that make a part each."""

    def __init__(
        self, attempt: Callable[[Part, Runtime], PartRecord | None], runtime: Runtime
    ) -> None:
        self.events: queue.SimpleQueue[tuple[int, Part, Any] | None] = queue.SimpleQueue()
        """The number of a thread, its part, and the record or the error; None where the next part
        may begin."""
        self.running: dict[int, threading.Thread] = {}
        """Threads that have not reported their end, by their number."""
        self._attempt = attempt
        self._runtime = runtime
        self._begun = 0
        self._last = math.inf
        """Threads of higher numbers are to end."""

    def begin(self, part: Part, *, follows: bool) -> None:
        """Starts to make a part; another one follows it or not."""
        number = self._begun
        self._begun += 1
        # An interrupted command does not wait for a thread that downloads a shard.
        thread = threading.Thread(target=self._make, args=(number, part, follows), daemon=True)
        self.running[number] = thread
        thread.start()

    def stop_after(self, number: int) -> None:
        """Ends the threads of higher numbers at their next report of progress."""
        self._last = min(self._last, number)

    def stop(self) -> None:
        """Ends all threads at their next report of progress, and waits for them a moment."""
        self.stop_after(-1)
        until = time.monotonic() + _PATIENCE_SECONDS
        for thread in self.running.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _make(self, number: int, part: Part, follows: bool) -> None:
        has_allowed = False

        def check() -> None:
            if number > self._last:
                raise _Stopped

        def begin_next() -> bool:
            nonlocal has_allowed
            check()
            if not has_allowed:
                has_allowed = True
                self.events.put(None)
            return follows

        progress = _StoppableProgress(self._runtime.progress, check)
        runtime = replace(self._runtime, progress=progress, begin_next=begin_next)
        try:
            outcome = self._attempt(part, runtime)
        except BaseException as error:  # noqa: BLE001 - raised by `overlapping`
            outcome = error
        self.events.put((number, part, outcome))
        if not has_allowed:
            self.events.put(None)


class _StoppableProgress:
    """Progress that ends the thread which reports it, once that is no longer wanted."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress = progress
        self._check = check

    def start(self, what: str, total: int, unit: str) -> None:
        """Passed on."""
        self._check()
        self._progress.start(what, total, unit)

    def revise(self, total: int) -> None:
        """Passed on."""
        self._check()
        self._progress.revise(total)

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Passed on."""
        self._check()
        self._progress.advance(done, skipped=skipped, note=note, spent=spent)

    def parts(self, done: int, total: int) -> None:
        """Passed on."""
        self._progress.parts(done, total)

    def end(self) -> None:
        """Passed on."""
        self._progress.end()

    def report(self, line: str) -> None:
        """Passed on."""
        self._progress.report(line)
