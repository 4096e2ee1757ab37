"""Progress on the terminal: what, how many, how fast, how long still, how many skipped."""

import sys
import time
from typing import TextIO

_EVERY_SECONDS = 0.2
"""Least time between two drawings on a terminal."""

_EVERY_SECONDS_IN_A_LOG = 10.0
"""Least time between two lines where the output is no terminal."""


class ProgressLine:
    """One line that is drawn over on a terminal, or a line now and then in a log."""

    def __init__(self) -> None:
        self._what = ""
        self._is_drawn = False

    @property
    def _stream(self) -> TextIO:
        return sys.stderr

    def start(self, what: str, total: int, unit: str) -> None:
        """Begins a new count."""
        self.close()
        self._what, self._total, self._unit = what, total, unit
        self._done = self._skipped = 0
        self._note = ""
        self._began = self._drawn = time.monotonic()

    def revise(self, total: int) -> None:
        """Replaces a total that was not known well at the start."""
        self._total = total

    def advance(self, done: int, *, skipped: int = 0, note: str = "") -> None:
        """Adds to the count, and draws when it is time to."""
        if not self._what:
            return
        self._done += done
        self._skipped += skipped
        self._note = note or self._note
        now = time.monotonic()
        every = _EVERY_SECONDS if self._stream.isatty() else _EVERY_SECONDS_IN_A_LOG
        if now - self._drawn >= every:
            self._drawn = now
            self._draw(now)

    def _draw(self, now: float) -> None:
        seconds = now - self._began
        rate = self._done / seconds if seconds > 0 else 0.0
        left = (self._total - self._done) / rate if rate > 0 else float("inf")
        share = self._done / self._total if self._total else 1.0
        line = (
            f"{self._what}: {self._done:,} of {self._total:,} {self._unit} ({share:.0%}), "
            f"{rate:,.1f} a second, {_duration(left)} left"
        )
        if self._skipped:
            line += f", {self._skipped:,} skipped"
        if self._note:
            line += f", {self._note}"
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[2K{line[:160]}")
            self._is_drawn = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def tell(self, line: str) -> None:
        """Prints a line that stands by itself."""
        self.close()
        self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Wipes the line, so that what is printed next stands alone."""
        if self._is_drawn:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._is_drawn = False


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
