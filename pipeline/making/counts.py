"""Counts of finished work: rates, the time left, and how the time is spent."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from ...stages.contract import Spent
from ..wording import counted

_NOW_SECONDS = 10.0
"""The window of the current rate."""

_LEAST_CHANGE = 0.1
"""An estimate changes only by at least this share of it, so that the total does not flicker."""

_LIMITS = {
    "read": "reading: the disk or the network that the images lie on",
    "decode": "decoding: more cores help, and for large JPEGs --set embed.scaled_jpeg=true",
    "encode": "the encoder",
    "write": "writing: the disk of the store",
}
"""What limits a stage, by the step that takes the most time."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a count at one moment."""

    what: str
    """The name of the work."""
    done: int
    total: int
    is_estimate: bool
    """Whether the total is an estimate."""
    unit: str
    per_second_now: float
    """Over the last ten seconds."""
    per_second: float
    """Since the count began."""
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
    """Units that are done since the start, and the seconds that each step took."""

    def __init__(self, what: str, total: int, unit: str, now: float) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.is_estimate = False
        self.done = self.skipped = self.parts_done = self.parts = 0
        self.note = ""
        self.spent: Counter[str] = Counter()
        self.began = now
        self._marks = deque([(now, 0)])

    def add(self, done: int, skipped: int, note: str, spent: Spent | None, now: float) -> None:
        """Adds finished units."""
        self.done += done
        if self.is_estimate:
            self.total = max(self.total, self.done)
        self.skipped += skipped
        self.note = note or self.note
        self.spent.update(spent or {})
        if now - self._marks[-1][0] >= _NOW_SECONDS / 20:
            self._marks.append((now, self.done))
        # Keep one mark at or before the start of the window.
        while len(self._marks) > 1 and now - self._marks[1][0] >= _NOW_SECONDS:
            self._marks.popleft()

    def revise(self, total: int) -> str:
        """Takes a new estimate of the total, if it differs clearly from the old one.

        Returns a line that reports the change; an empty one for the first estimate, or no change.
        """
        old_total, total = self.total, max(total, self.done)
        if not self.is_estimate:
            self.total, self.is_estimate = total, True
            return ""
        if abs(total - old_total) <= _LEAST_CHANGE * old_total:
            return ""
        self.total = total
        return f"{self.what}: about {counted_unit(total, self.unit)} in all, not {old_total:,}"

    def settle(self) -> None:
        """Replaces an estimated total by the number of units that are done."""
        if self.is_estimate:
            self.total, self.is_estimate = self.done, False

    def snapshot(self, now: float) -> Snapshot:
        """The state of the count now."""
        window_start, done_before = self._marks[0]
        per_second = _rate(self.done, now - self.began)
        encoder_seconds = self.spent["waited"] + self.spent["encode"]
        return Snapshot(
            what=self.what,
            done=self.done,
            total=self.total,
            is_estimate=self.is_estimate,
            unit=self.unit,
            per_second_now=_rate(self.done - done_before, now - window_start),
            per_second=per_second,
            seconds_left=max(0, self.total - self.done) / per_second if per_second else None,
            skipped=self.skipped,
            parts_done=self.parts_done,
            parts=self.parts,
            waiting_share=self.spent["waited"] / encoder_seconds if encoder_seconds else None,
            note=self.note,
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The time that a finished count took, and on what."""

    what: str
    unit: str
    done: int
    seconds: float
    per_second: float
    shares: Mapping[str, float]
    """The shares of reading, decoding, encoding and writing in the time of these four."""
    waiting_share: float | None
    skipped: Mapping[str, int]
    """Numbers of skipped samples by reason."""
    limit: str
    """What limits the stage."""

    @classmethod
    def of(cls, count: Count, skipped: Mapping[str, int], now: float) -> "Summary | None":
        """The summary of a count; None if its stage did not report how time was spent."""
        spent = {step: count.spent[step] for step in _LIMITS}
        total_seconds = sum(spent.values())
        if not total_seconds:
            return None
        snapshot = count.snapshot(now)
        return cls(
            what=count.what,
            unit=count.unit,
            done=count.done,
            seconds=now - count.began,
            per_second=snapshot.per_second,
            shares={step: seconds / total_seconds for step, seconds in spent.items()},
            waiting_share=snapshot.waiting_share,
            skipped={reason: number for reason, number in skipped.items() if number},
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


def line_of(snapshot: Snapshot) -> str:
    """A count in one line: done, rates, time left, parts, skipped."""
    about = "about " if snapshot.is_estimate else ""
    total = f"{about}{counted_unit(snapshot.total, snapshot.unit)}"
    pieces = [
        f"{snapshot.what}: {snapshot.done:,} of {total} ({share_of(snapshot):.0%})",
        f"{snapshot.per_second_now:,.1f} a second now, {snapshot.per_second:,.1f} on average",
        f"{duration(snapshot.seconds_left)} left",
    ]
    return ", ".join([*pieces, *details_of(snapshot)])


def details_of(snapshot: Snapshot) -> list[str]:
    """Further facts of a count: parts, skipped samples, waiting, a note."""
    pieces = []
    if snapshot.parts > 1:
        pieces.append(f"{snapshot.parts_done:,} of {counted(snapshot.parts, 'part')}")
    if snapshot.skipped:
        pieces.append(f"{snapshot.skipped:,} skipped")
    if snapshot.waiting_share is not None:
        pieces.append(f"{snapshot.waiting_share:.0%} waiting for data")
    if snapshot.note:
        pieces.append(snapshot.note)
    return pieces


def share_of(snapshot: Snapshot) -> float:
    """The share that is done, at most 1: also of nothing, and where more came than expected."""
    return min(1.0, snapshot.done / snapshot.total) if snapshot.total else 1.0


def counted_unit(count: int, unit: str) -> str:
    """A count with its unit, in the singular or plural; stages name units in the plural."""
    return counted(count, unit.removesuffix("s")) if unit.endswith("s") else f"{count:,} {unit}"


def duration(seconds: float | None) -> str:
    """A duration such as 1:02:03 or 2:03; a question mark if it is unknown."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rate(done: int, seconds: float) -> float:
    return done / seconds if seconds > 0 else 0.0
