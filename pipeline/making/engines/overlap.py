"""Parts made beside one another: each in a thread, begun when the one before it allows that."""

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

    The first error ends those that are in work, and is raised.
    """
    threads = _Threads(attempt, runtime)
    waiting, running, may_begin = list(reversed(parts)), 0, True
    try:
        while waiting or running:
            if waiting and may_begin and running < _MOST:
                part = waiting.pop()
                threads.begin(part, follows=bool(waiting))
                running, may_begin = running + 1, False
                continue
            event = threads.events.get()
            if event is None:
                may_begin = True
                continue
            running -= 1
            part, record = event
            if isinstance(record, BaseException):
                raise record
            yield part, record
    finally:
        threads.stop()


class _Stopped(Exception):
    """Ends a thread whose part is no longer wanted."""


class _Threads:
    """Threads that make a part each."""

    def __init__(
        self, attempt: Callable[[Part, Runtime], PartRecord | None], runtime: Runtime
    ) -> None:
        self.events: queue.SimpleQueue[tuple[Part, Any] | None] = queue.SimpleQueue()
        """A part with its record or its error; None where the next part may begin."""
        self._attempt = attempt
        self._runtime = runtime
        self._is_stopped = threading.Event()
        self._alive: list[threading.Thread] = []

    def begin(self, part: Part, *, follows: bool) -> None:
        """Starts to make a part; another one follows it or not."""
        self._alive = [thread for thread in self._alive if thread.is_alive()]
        # An interrupted command does not wait for a thread that downloads a shard.
        thread = threading.Thread(target=self._make, args=(part, follows), daemon=True)
        self._alive.append(thread)
        thread.start()

    def stop(self) -> None:
        """Ends all threads at their next report of progress."""
        self._is_stopped.set()
        until = time.monotonic() + _PATIENCE_SECONDS
        for thread in self._alive:
            thread.join(max(0.0, until - time.monotonic()))

    def _make(self, part: Part, follows: bool) -> None:
        has_allowed = False

        def begin_next() -> bool:
            nonlocal has_allowed
            self._check()
            if not has_allowed:
                has_allowed = True
                self.events.put(None)
            return follows

        progress = _StoppableProgress(self._runtime.progress, self._check)
        runtime = replace(self._runtime, progress=progress, begin_next=begin_next)
        try:
            outcome = self._attempt(part, runtime)
        except BaseException as error:  # noqa: BLE001 - raised by `overlapping`
            outcome = error
        self.events.put((part, outcome))
        if not has_allowed:
            self.events.put(None)

    def _check(self) -> None:
        if self._is_stopped.is_set():
            raise _Stopped


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
