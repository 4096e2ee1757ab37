"""Displays of progress: a live line on a terminal, lines in a log or a file, JSON lines."""

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ...store import ConfigError
from ...store.paths import expanded
from ..wording import columns_of, printable, wrap
from .counts import Snapshot, Summary, line_of

if TYPE_CHECKING:
    from .live_line import LiveLine


class Display(Protocol):
    """Shows counts, summaries and messages."""

    every: float
    """Seconds between two updates of a count."""

    def begin(self, snapshot: Snapshot) -> None:
        """Shows that a count begins."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Shows the state of a count."""
        ...

    def end(self, snapshot: Snapshot) -> None:
        """Shows how a count ended; called only if that was not shown yet."""
        ...

    def show_summary(self, summary: Summary) -> None:
        """Shows the summary of a finished count."""
        ...

    def message(self, line: str, *, is_error: bool = False) -> None:
        """Shows a message, or the error that ends a command, on a line of its own."""
        ...

    def close(self) -> None:
        """Clears what was drawn, so that other output can follow."""
        ...


class Messages:
    """Shows messages only, wrapped to the width of a terminal."""

    every = math.inf

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    @property
    def stream(self) -> TextIO:
        """The stream that it writes to, by default standard error."""
        return self._stream or sys.stderr

    def begin(self, snapshot: Snapshot) -> None:
        """Shows nothing."""

    def show(self, snapshot: Snapshot) -> None:
        """Shows nothing."""

    def end(self, snapshot: Snapshot) -> None:
        """Shows nothing."""

    def show_summary(self, summary: Summary) -> None:
        """Shows nothing."""

    def message(self, line: str, *, is_error: bool = False) -> None:
        """Prints a message."""
        line = printable(f"cpp-pipe: {line}" if is_error else line)
        self.write(wrap(line, columns_of(self.stream)) if self.stream.isatty() else line)

    def close(self) -> None:
        """Nothing is drawn."""

    def write(self, line: str) -> None:
        """Writes a line."""
        self.stream.write(f"{line}\n")
        self.stream.flush()


class Lines(Messages):
    """Shows a count as a line every ten seconds, for a log."""

    every = 10.0

    def show(self, snapshot: Snapshot) -> None:
        """Prints the count as a line."""
        self.write(line_of(snapshot))

    def show_summary(self, summary: Summary) -> None:
        """Prints a table and what limits the stage."""
        for line in summary.table().splitlines():
            self.write(line)


class JsonLines(Messages):
    """Shows counts (with the fields of Snapshot), summaries, messages and errors as JSON lines."""

    every = 1.0

    def show(self, snapshot: Snapshot) -> None:
        """Prints the fields of the count."""
        self.write(json.dumps(_rounded(asdict(snapshot))))

    def end(self, snapshot: Snapshot) -> None:
        """Prints how the count ended."""
        self.show(snapshot)

    def show_summary(self, summary: Summary) -> None:
        """Prints the fields of the summary."""
        self.write(json.dumps({"summary": _rounded(asdict(summary))}))

    def message(self, line: str, *, is_error: bool = False) -> None:
        """Prints a message."""
        self.write(json.dumps({"error" if is_error else "message": line}))


class LogFile(Lines):
    """Appends lines with the time (UTC) to a file.

    If the file cannot be written, the work goes on, and `report` gets one message.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        super().__init__(_open_to_append(path))
        self._path, self._report = path, report
        self._is_broken = False

    def message(self, line: str, *, is_error: bool = False) -> None:
        """Writes a message."""
        self.write(printable(f"cpp-pipe: {line}" if is_error else line))

    def write(self, line: str) -> None:
        """Writes a line after the time."""
        if self._is_broken:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            super().write("\n".join(f"{now} {part}" for part in line.splitlines() or [""]))
        except OSError as error:
            self._is_broken = True
            self._report(f"--log-file {self._path} ends here: {error.strerror or error}")

    def close_file(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):  # a full disk was reported already
            self.stream.close()


def _open_to_append(path: Path) -> TextIO:
    path = expanded(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without O_NONBLOCK, opening a FIFO that nobody reads would wait forever.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(path, flags, 0o666)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"--log-file {path} cannot be written ({why}): name a file") from error
    return open(handle, "a", encoding="utf-8", errors="backslashreplace")


def open_live_line(stream: TextIO, *, is_forced: bool = False) -> "LiveLine":
    """A line that rich redraws; rich is loaded only here."""
    from .live_line import LiveLine

    return LiveLine(stream, is_forced=is_forced)


def can_redraw(stream: TextIO) -> bool:
    """Whether a line can be redrawn: on a terminal that supports it, but not in CI's log."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and not is_dumb and not is_ci


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _round(value) for name, value in values.items()}


def _round(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _rounded(value)
    return round(value, 4) if isinstance(value, float) else value
