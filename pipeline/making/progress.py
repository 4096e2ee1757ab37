"""Progress of a command: counts what the stages report, and shows it where the user wants it."""

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...stages.contract import Spent
from ...store import ConfigError
from .counts import Count, Summary
from .displays import Display, JsonLines, Lines, LogFile, Messages, can_redraw, open_live_line
from .notebook_line import NotebookLine, is_in_notebook

MODES = ("auto", "bar", "log", "json", "none")
"""The values of `--progress`."""


class ShownProgress:
    """Counts progress, from any thread, and shows it on all displays."""

    def __init__(self, *displays: Display, clock: Callable[[], float] = time.monotonic) -> None:
        self._displays: Sequence[Display] = displays
        self._clock = clock
        self._count: Count | None = None
        self._last: Count | None = None
        self._ended = 0.0
        """When the last count ended."""
        self._parts = (0, 0)
        self._last_shown = [-math.inf] * len(displays)
        """The time at which each display was last updated."""
        self._last_state = [(0, 0)] * len(displays)
        """The units done and their total at that time."""
        self._lock = threading.RLock()

    def start(self, what: str, total: int, unit: str) -> None:
        """Starts a new count."""
        with self._lock:
            self._stop()
            now = self._clock()
            self._count = Count(what, total, unit, now)
            self._count.parts_done, self._count.parts = self._parts
            for number, display in enumerate(self._displays):
                self._last_shown[number], self._last_state[number] = now, (0, total)
                display.begin(self._count.snapshot(now))

    def revise(self, total: int) -> None:
        """Replaces an estimated total, and reports a clear change."""
        with self._lock:
            change = self._count.revise(total) if self._count is not None else ""
            if change:
                self.report(change)

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count, and updates the displays for which it is time."""
        with self._lock:
            if self._count is None:
                return
            now = self._clock()
            self._count.add(done, skipped, note, spent, now)
            for number, display in enumerate(self._displays):
                if now - self._last_shown[number] >= display.every:
                    self._show(number, display, now)

    def _show(self, number: int, display: Display, now: float) -> None:
        assert self._count is not None
        self._last_shown[number] = now
        self._last_state[number] = self._count.done, self._count.total
        display.show(self._count.snapshot(now))

    def parts(self, done: int, total: int) -> None:
        """Sets how many parts exist, of how many; all counts show it until the work ends."""
        with self._lock:
            self._parts = done, total
            if self._count is not None:
                self._count.parts_done, self._count.parts = done, total

    def sum_up(self, skipped: Mapping[str, int]) -> None:
        """Shows a summary of the last count, if its stage reported how time was spent."""
        with self._lock:
            self.end()
            summary = Summary.of(self._last, skipped, self._ended) if self._last else None
            if summary is not None:
                for display in self._displays:
                    display.show_summary(summary)

    def report(self, line: str, *, is_error: bool = False) -> None:
        """Shows a message on a line of its own."""
        with self._lock, contextlib.ExitStack() as each:
            for display in reversed(self._displays):  # the log file also where a terminal is gone
                each.callback(display.message, line, is_error=is_error)

    def end(self) -> None:
        """Ends the current count, whose work is all done."""
        with self._lock:
            if self._count is not None:
                self._count.settle()
            self._stop()
            self._parts = (0, 0)

    def _stop(self) -> None:
        """Shows the last state of the current count, unless it was shown already."""
        with self._lock:
            count, self._count = self._count, None
            if count is not None:
                self._last, self._ended = count, self._clock()
            for number, display in enumerate(self._displays):
                if count is not None and self._last_state[number] != (count.done, count.total):
                    display.end(count.snapshot(self._clock()))
                display.close()

    def finish(self) -> None:
        """Ends the current count, and closes the log file."""
        self._stop()
        for display in self._displays:
            if isinstance(display, LogFile):
                display.close_file()

    def close(self) -> None:
        """Clears what was drawn, so that other output can follow; the count goes on."""
        with self._lock:
            for display in self._displays:
                display.close()


def open_progress(mode: str, log_file: Path | None = None) -> ShownProgress:
    """The progress for `--progress` and `--log-file`; ConfigError if one is not possible."""
    if mode not in MODES:
        raise ConfigError(f"--progress must be one of {', '.join(MODES)}, got {mode!r}")
    display = _display(mode)
    if log_file is None:
        return ShownProgress(display)
    return ShownProgress(display, LogFile(log_file, display.message))


def _display(mode: str) -> Display:
    if mode == "auto" and is_in_notebook():
        return NotebookLine()
    if mode == "bar" or (mode == "auto" and can_redraw(sys.stderr)):
        return open_live_line(sys.stderr, is_forced=mode == "bar")
    if mode == "json":
        return JsonLines()
    return Messages() if mode == "none" else Lines()
