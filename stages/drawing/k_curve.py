"""The curve of coding lengths by k, from which every figure of it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


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

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Any]]) -> Self:
        """The curve of the columns of a `k_curve`, whose rows may be in any order."""
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
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
            for row in sorted(rows, key=lambda row: row["k"])
        )
        return cls(points=points)

    @property
    def shortest(self) -> CurvePoint:
        """The point with the shortest code."""
        return next(point for point in self.points if point.is_shortest)

    @property
    def chosen(self) -> CurvePoint:
        """The point that is marked: the number that `select-k` chose."""
        return next(point for point in self.points if point.is_chosen)
