"""Progress on standard error: how many, how fast, how long still, and what the time goes to."""

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
"""Least time between two drawings on a terminal."""

_EVERY_SECONDS_IN_A_LOG = 10.0
"""Least time between two lines where the output is no terminal."""

_EVERY_SECONDS_IN_JSON = 1.0

_NOW_SECONDS = 10.0
"""What "now" is in images a second now."""

_LIMITS = {
    "read": "reading: the disk or the network that the images lie on",
    "decode": "decoding: more cores help, and for large JPEGs --set embed.scaled_jpeg=true",
    "encode": "the encoder",
    "write": "writing: the disk of the store",
}
"""What limits a run, by what the most time goes to."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How far a count is."""

    what: str
    done: int
    total: int
    unit: str
    per_second_now: float
    """Over the last ten seconds."""
    per_second: float
    seconds_left: float | None
    """At the average rate; None while there is none."""
    skipped: int
    parts_done: int
    parts: int
    """0 where nobody has said how many."""
    waiting_share: float | None
    """Of the time in which there could have been encoding; None where none is told of."""
    note: str


class Count:
    """What is counted since a start, and what the time went to."""

    def __init__(self, what: str, total: int, unit: str, now: float) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = self.skipped = self.parts_done = self.parts = 0
        self.note = ""
        self.spent: Counter[str] = Counter()
        self.began = now
        self._marks = deque([(now, 0)])

    def add(self, done: int, skipped: int, note: str, spent: Spent | None, now: float) -> None:
        """One step further."""
        self.done += done
        self.skipped += skipped
        self.note = note or self.note
        self.spent.update(spent or {})
        if now - self._marks[-1][0] >= _NOW_SECONDS / 20:
            self._marks.append((now, self.done))
        # The oldest mark is the last one that is not younger than "now" reaches.
        while len(self._marks) > 1 and now - self._marks[1][0] >= _NOW_SECONDS:
            self._marks.popleft()

    def look(self, now: float) -> Look:
        """How far it is."""
        began, done_then = self._marks[0]
        per_second = _rate(self.done, now - self.began)
        could_encode = self.spent["waited"] + self.spent["encode"]
        return Look(
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
    """What a whole run of counting took."""

    what: str
    unit: str
    done: int
    seconds: float
    per_second: float
    shares: Mapping[str, float]
    """Of reading, decoding, encoding and writing in the time that went to these four."""
    waiting_share: float | None
    skipped: Mapping[str, int]
    """By reason."""
    limit: str

    @classmethod
    def of(cls, count: Count, skipped: Mapping[str, int], now: float) -> "Summary | None":
        """The summary of a count; None where nobody told what its time went to."""
        spent = {name: count.spent[name] for name in _LIMITS}
        in_all = sum(spent.values())
        if not in_all:
            return None
        look = count.look(now)
        return cls(
            what=count.what,
            unit=count.unit,
            done=count.done,
            seconds=now - count.began,
            per_second=look.per_second,
            shares={name: one / in_all for name, one in spent.items()},
            waiting_share=look.waiting_share,
            skipped={reason: count for reason, count in skipped.items() if count},
            limit=_LIMITS[max(spent, key=spent.__getitem__)],
        )

    def table(self) -> str:
        """A table of one row, and what limits the run."""
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
    """Progress that is counted; how it is shown is left to others."""

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
        """Begins a new count."""
        with self._lock:
            self.close()
            self._shown = self._clock()
            self._count = Count(what, total, unit, self._shown)
            self._count.parts_done, self._count.parts = self._parts

    def revise(self, total: int) -> None:
        """Replaces a total that was not known well at the start."""
        with self._lock:
            if self._count is not None:
                self._count.total = total

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds to the count, and shows it when it is time to."""
        with self._lock:
            if self._count is None:
                return
            now = self._clock()
            self._count.add(done, skipped, note, spent, now)
            if now - self._shown >= self._every():
                self._shown = now
                self._show(self._count.look(now))

    def parts(self, done: int, total: int) -> None:
        """Says how many parts are there, of how many; a later count is of the same, until told."""
        with self._lock:
            self._parts = done, total
            if self._count is not None:
                self._count.parts_done, self._count.parts = done, total

    def sum_up(self, skipped: Mapping[str, int]) -> None:
        """Shows what the last count took, where its stage told what its time went to."""
        with self._lock:
            made = self._count and Summary.of(self._count, skipped, self._clock())
            if made is not None:
                self._show_summary(made)

    def tell(self, line: str) -> None:
        """Prints a line that stands by itself."""
        with self._lock:
            self.close()
            self._write(line + "\n")

    def close(self) -> None:
        """Makes room for what is printed next."""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _every(self) -> float:
        return math.inf

    def _show(self, look: Look) -> None:
        """Shows how far the count is."""

    def _show_summary(self, summary: Summary) -> None:
        """Shows what it took."""


class NoProgress(_Counting):
    """Nothing but the lines that stand by themselves."""


class ProgressLine(_Counting):
    """One line that is drawn over on a terminal, or a line now and then in a log."""

    _is_drawn = False

    def _every(self) -> float:
        return _EVERY_SECONDS if self._stream.isatty() else _EVERY_SECONDS_IN_A_LOG

    def _show(self, look: Look) -> None:
        self._is_drawn = self._stream.isatty()
        line = line_of(look)
        self._write(f"\r\x1b[2K{line[:160]}" if self._is_drawn else line + "\n")

    def _show_summary(self, summary: Summary) -> None:
        self.tell(summary.table())

    def close(self) -> None:
        """Wipes the line, so that what is printed next stands alone."""
        if self._is_drawn:
            self._write("\r\x1b[2K")
            self._is_drawn = False


class JsonProgress(_Counting):
    """One JSON object a line: a count with the fields of Look, a summary, or a message."""

    def _every(self) -> float:
        return _EVERY_SECONDS_IN_JSON

    def _show(self, look: Look) -> None:
        self._write(json.dumps(_rounded(asdict(look))) + "\n")

    def _show_summary(self, summary: Summary) -> None:
        assert self._count is not None
        self._show(self._count.look(self._clock()))
        self._write(json.dumps({"summary": _rounded(asdict(summary))}) + "\n")

    def tell(self, line: str) -> None:
        """Writes a message."""
        with self._lock:
            self._write(json.dumps({"message": line}) + "\n")


PROGRESS = {"line": ProgressLine, "json": JsonProgress, "none": NoProgress}
"""The ways to show progress, by name."""


def progress_named(name: str) -> "ProgressLine | JsonProgress | NoProgress":
    """Progress as `--progress` wants it; ConfigError for a way that there is not."""
    if name not in PROGRESS:
        raise ConfigError(f"--progress {name!r} is not allowed: {', '.join(PROGRESS)} are")
    return PROGRESS[name]()


def line_of(look: Look) -> str:
    """What a person wants to know of a count, in one line."""
    share = look.done / look.total if look.total else 1.0
    pieces = [
        f"{look.what}: {look.done:,} of {look.total:,} {look.unit} ({share:.0%})",
        f"{look.per_second_now:,.1f} a second now, {look.per_second:,.1f} on average",
        f"{_duration(look.seconds_left)} left",
    ]
    if look.parts > 1:
        pieces.append(f"{look.parts_done:,} of {look.parts:,} parts")
    if look.skipped:
        pieces.append(f"{look.skipped:,} skipped")
    if look.waiting_share is not None:
        pieces.append(f"{look.waiting_share:.0%} waiting for data")
    if look.note:
        pieces.append(look.note)
    return ", ".join(pieces)


def _rate(done: int, seconds: float) -> float:
    return done / seconds if seconds > 0 else 0.0


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(one)
        if isinstance(one, Mapping)
        else round(one, 4)
        if isinstance(one, float)
        else one
        for name, one in values.items()
    }


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
