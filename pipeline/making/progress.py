"""Progress on standard error: counts, rates, the time left, and what the time is spent on."""

import json
import math
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from ...stages.contract import Spent
from ...store import ConfigError

_EVERY_SECONDS = 0.2
"""Between two updates on a terminal."""

_EVERY_SECONDS_IN_A_LOG = 10.0
"""Between two lines where standard error is not a terminal."""

_EVERY_SECONDS_IN_JSON = 1.0

_NOW_SECONDS = 10.0
"""The window of the current rate."""

_LIMITS = {
    "read": "reading: the disk or the network that the images lie on",
    "decode": "decoding: more cores help, and for large JPEGs --set embed.scaled_jpeg=true",
    "encode": "the encoder",
    "write": "writing: the disk of the store",
}
"""What limits a stage, by what takes the most time."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a count at one moment."""

    what: str
    done: int
    total: int
    unit: str
    per_second_now: float
    """Over the last ten seconds."""
    per_second: float
    seconds_left: float | None
    """At the average rate; None while there is no rate."""
    skipped: int
    parts_done: int
    parts: int
    """0 if unknown."""
    waiting_share: float | None
    """Share of the encoder's time that it waited for data; None if nothing was encoded."""
    note: str


class Count:
    """Units done since the start, and the seconds spent by step."""

    def __init__(self, what: str, total: int, unit: str, now: float) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = self.skipped = self.parts_done = self.parts = 0
        self.note = ""
        self.spent: Counter[str] = Counter()
        self.began = now
        self._marks = deque([(now, 0)])

    def add(self, done: int, skipped: int, note: str, spent: Spent | None, now: float) -> None:
        """Adds finished units."""
        self.done += done
        self.skipped += skipped
        self.note = note or self.note
        self.spent.update(spent or {})
        if now - self._marks[-1][0] >= _NOW_SECONDS / 20:
            self._marks.append((now, self.done))
        # Keep one mark at or before the start of the window.
        while len(self._marks) > 1 and now - self._marks[1][0] >= _NOW_SECONDS:
            self._marks.popleft()

    def snapshot(self, now: float) -> Snapshot:
        """Its state now."""
        began, done_then = self._marks[0]
        per_second = _rate(self.done, now - self.began)
        could_encode = self.spent["waited"] + self.spent["encode"]
        return Snapshot(
            what=self.what,
            done=self.done,
            total=self.total,
            unit=self.unit,
            per_second_now=_rate(self.done - done_then, now - began),
            per_second=per_second,
            seconds_left=max(0, self.total - self.done) / per_second if per_second else None,
            skipped=self.skipped,
            parts_done=self.parts_done,
            parts=self.parts,
            waiting_share=self.spent["waited"] / could_encode if could_encode else None,
            note=self.note,
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a finished count took."""

    what: str
    unit: str
    done: int
    seconds: float
    per_second: float
    shares: Mapping[str, float]
    """Shares of reading, decoding, encoding and writing in the time that these four took."""
    waiting_share: float | None
    skipped: Mapping[str, int]
    """By reason."""
    limit: str

    @classmethod
    def of(cls, count: Count, skipped: Mapping[str, int], now: float) -> "Summary | None":
        """The summary of a count; None if its stage did not report how time was spent."""
        spent = {name: count.spent[name] for name in _LIMITS}
        total = sum(spent.values())
        if not total:
            return None
        snapshot = count.snapshot(now)
        return cls(
            what=count.what,
            unit=count.unit,
            done=count.done,
            seconds=now - count.began,
            per_second=snapshot.per_second,
            shares={name: seconds / total for name, seconds in spent.items()},
            waiting_share=snapshot.waiting_share,
            skipped={reason: count for reason, count in skipped.items() if count},
            limit=_LIMITS[max(spent, key=spent.__getitem__)],
        )

    def table(self) -> str:
        """A table with one row, and what limits the stage."""
        cells = {
            self.unit: f"{self.done:,}",
            "seconds": f"{self.seconds:,.1f}",
            "a second": f"{self.per_second:,.1f}",
            **{name: f"{share:.1%}" for name, share in self.shares.items()},
            "waiting": "" if self.waiting_share is None else f"{self.waiting_share:.1%}",
            "skipped": f"{sum(self.skipped.values()):,}",
        }
        widths = {name: max(len(name), len(cell)) for name, cell in cells.items()}
        lines = [
            "  ".join(name.rjust(widths[name]) for name in cells),
            "  ".join(cell.rjust(widths[name]) for name, cell in cells.items()),
            f"limited by {self.limit}",
        ]
        if self.skipped:
            lines.append("skipped: " + ", ".join(f"{why} {n:,}" for why, n in self.skipped.items()))
        return "\n".join(f"{self.what}: {line}" for line in lines)


class _Counting:
    """Counts progress; subclasses show it."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._given, self._clock = stream, clock
        self._count: Count | None = None
        self._parts = (0, 0)
        self._shown = -math.inf
        self._lock = threading.RLock()

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr

    def start(self, what: str, total: int, unit: str) -> None:
        """Starts a new count."""
        with self._lock:
            self.close()
            self._shown = self._clock()
            self._count = Count(what, total, unit, self._shown)
            self._count.parts_done, self._count.parts = self._parts

    def revise(self, total: int) -> None:
        """Replaces an estimated total."""
        with self._lock:
            if self._count is not None:
                self._count.total = total

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count, and shows it if an update is due."""
        with self._lock:
            if self._count is None:
                return
            now = self._clock()
            self._count.add(done, skipped, note, spent, now)
            if now - self._shown >= self._every():
                self._shown = now
                self._show(self._count.snapshot(now))

    def parts(self, done: int, total: int) -> None:
        """Reports how many of all parts exist; later counts show the same until the next call."""
        with self._lock:
            self._parts = done, total
            if self._count is not None:
                self._count.parts_done, self._count.parts = done, total

    def sum_up(self, skipped: Mapping[str, int]) -> None:
        """Shows what the last count took, if its stage reported how time was spent."""
        with self._lock:
            summary = self._count and Summary.of(self._count, skipped, self._clock())
            if summary is not None:
                self._show_summary(summary)

    def tell(self, line: str) -> None:
        """Prints a message on a line of its own."""
        with self._lock:
            self.close()
            self._write(line + "\n")

    def close(self) -> None:
        """Clears what was drawn, so that other output can follow."""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _every(self) -> float:
        return math.inf

    def _show(self, snapshot: Snapshot) -> None:
        """Shows the state of the count."""

    def _show_summary(self, summary: Summary) -> None:
        """Shows what the count took."""


class NoProgress(_Counting):
    """Prints messages only."""


class ProgressLine(_Counting):
    """Redraws one line on a terminal; prints a line every few seconds elsewhere."""

    _is_drawn = False

    def _every(self) -> float:
        return _EVERY_SECONDS if self._stream.isatty() else _EVERY_SECONDS_IN_A_LOG

    def _show(self, snapshot: Snapshot) -> None:
        self._is_drawn = self._stream.isatty()
        line = line_of(snapshot)
        self._write(f"\r\x1b[2K{line[:160]}" if self._is_drawn else line + "\n")

    def _show_summary(self, summary: Summary) -> None:
        self.tell(summary.table())

    def close(self) -> None:
        """Clears the line."""
        if self._is_drawn:
            self._write("\r\x1b[2K")
            self._is_drawn = False


class JsonProgress(_Counting):
    """Prints JSON lines: counts with the fields of Snapshot, summaries and messages."""

    def _every(self) -> float:
        return _EVERY_SECONDS_IN_JSON

    def _show(self, snapshot: Snapshot) -> None:
        self._write(json.dumps(_rounded(asdict(snapshot))) + "\n")

    def _show_summary(self, summary: Summary) -> None:
        assert self._count is not None
        self._show(self._count.snapshot(self._clock()))
        self._write(json.dumps({"summary": _rounded(asdict(summary))}) + "\n")

    def tell(self, line: str) -> None:
        """Prints a message."""
        with self._lock:
            self._write(json.dumps({"message": line}) + "\n")


PROGRESS = {"line": ProgressLine, "json": JsonProgress, "none": NoProgress}
"""The values of `--progress`."""


def progress_named(name: str) -> "ProgressLine | JsonProgress | NoProgress":
    """The progress that a value of `--progress` names; ConfigError if it names none."""
    if name not in PROGRESS:
        raise ConfigError(f"--progress must be one of {', '.join(PROGRESS)}, got {name!r}")
    return PROGRESS[name]()


def line_of(snapshot: Snapshot) -> str:
    """A count in one line: done, rates, time left, parts, skipped."""
    share = snapshot.done / snapshot.total if snapshot.total else 1.0
    pieces = [
        f"{snapshot.what}: {snapshot.done:,} of {snapshot.total:,} {snapshot.unit} ({share:.0%})",
        f"{snapshot.per_second_now:,.1f} a second now, {snapshot.per_second:,.1f} on average",
        f"{_duration(snapshot.seconds_left)} left",
    ]
    if snapshot.parts > 1:
        pieces.append(f"{snapshot.parts_done:,} of {snapshot.parts:,} parts")
    if snapshot.skipped:
        pieces.append(f"{snapshot.skipped:,} skipped")
    if snapshot.waiting_share is not None:
        pieces.append(f"{snapshot.waiting_share:.0%} waiting for data")
    if snapshot.note:
        pieces.append(snapshot.note)
    return ", ".join(pieces)


def _rate(done: int, seconds: float) -> float:
    return done / seconds if seconds > 0 else 0.0


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _round(value) for name, value in values.items()}


def _round(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _rounded(value)
    return round(value, 4) if isinstance(value, float) else value


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
