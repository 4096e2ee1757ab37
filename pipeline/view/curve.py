"""The curve of coding lengths by k, in the one form that report, page and terminal draw."""

import math
from dataclasses import dataclass

from ...store import Artifact, StoreError


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The coding length of all rows in k clusters."""

    k: int
    nats: float
    low: float | None
    high: float | None
    """The lowest and the highest length among resamples."""
    votes: float | None
    """The share of resamples in which the code is the shortest at this k."""
    is_as_good: bool
    """Whether the code is longer than the shortest by no more than lengths vary."""
    is_shortest: bool
    is_chosen: bool


@dataclass(frozen=True, kw_only=True)
class KCurve:
    """A point for each k that was tried, in ascending order."""

    points: tuple[CurvePoint, ...]

    @property
    def shortest(self) -> CurvePoint:
        """The point with the shortest code."""
        return next(point for point in self.points if point.is_shortest)

    @property
    def chosen(self) -> CurvePoint:
        """The point that is marked: the number that `select-k` chose."""
        return next(point for point in self.points if point.is_chosen)


def read_curve(curve: Artifact) -> KCurve:
    """The curve that a `k_curve` holds."""
    rows = curve.table(curve.only_part).sort_by("k").to_pylist()
    points = tuple(
        CurvePoint(
            k=row["k"],
            nats=row["coding_length_nats"],
            low=row["low_nats"],
            high=row["high_nats"],
            votes=row["votes"],
            is_as_good=row["as_good"],
            is_shortest=row["shortest"],
            is_chosen=row["chosen"],
        )
        for row in rows
    )
    _require_marks(points, curve)
    return KCurve(points=points)


def _require_marks(points: tuple[CurvePoint, ...], curve: Artifact) -> None:
    """StoreError where the points and the facts of a curve contradict each other."""
    facts, known = curve.facts, {point.k for point in points}
    shortest = [point.k for point in points if point.is_shortest]
    chosen = [point.k for point in points if point.is_chosen]
    is_right = shortest == [facts["shortest"]] and chosen == [facts["chosen"]]
    numbers = [n for point in points for n in (point.nats, point.low, point.high, point.votes)]
    is_finite = all(number is None or math.isfinite(number) for number in numbers)
    if not (is_right and is_finite and known.issuperset(facts["runners_up"])):
        raise StoreError(
            f"{curve.folder}: its points and its manifest contradict each other: restore it, or "
            "remove it and run `cpp-pipe select-k`, which makes it again"
        )
