"""The curve of coding lengths by k of a run, as report, page and terminal draw it."""

import math

from ...stages.drawing.k_curve import CurvePoint, KCurve
from ...store import Artifact, StoreError

__all__ = ["CurvePoint", "KCurve", "read_curve"]


def read_curve(curve: Artifact) -> KCurve:
    """The curve that a `k_curve` holds."""
    k_curve = KCurve.of(curve.table(curve.only_part).to_pydict())
    _require_marks(k_curve.points, curve)
    return k_curve


def _require_marks(points: tuple[CurvePoint, ...], curve: Artifact) -> None:
    """StoreError if the points and the facts of a curve contradict each other."""
    facts, tried = curve.facts, {point.k for point in points}
    shortest = [point.k for point in points if point.is_shortest]
    chosen = [point.k for point in points if point.is_chosen]
    is_right = shortest == [facts["shortest"]] and chosen == [facts["chosen"]]
    numbers = [n for point in points for n in (point.nats, point.low, point.high, point.votes)]
    is_finite = all(number is None or math.isfinite(number) for number in numbers)
    if not (is_right and is_finite and tried.issuperset(facts["runners_up"])):
        raise StoreError(
            f"{curve.folder}: its points and its manifest contradict each other: restore it, or "
            "remove it and run `cpp-pipe select-k`, which makes it again"
        )
