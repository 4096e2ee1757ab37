"""The recall measured with each search width, and the width that a target recall needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

RecallCurve = Sequence[tuple[int, float]]
"""Search widths, ascending, and the recall@10 measured with each."""

_SAFETY = 0.8
"""The share of the allowed misses that may occur on the rows on which recall was measured."""

USUAL_TARGETS = (0.9, 0.95, 0.99)
"""Target recalls around which more widths are measured."""

_ENOUGH = 0.999
"""Recall from which no wider search is measured."""

_FINE = 8
"""Around a usual target, neighbouring widths differ by at most a share of one in this many."""


def measure_curve(
    recall_with: Callable[[int], float], *, first: int, most: int
) -> list[tuple[int, float]]:
    """Measures ever wider searches until a wider one finds hardly more.

    Widths grow by a third or a half. Around the widths that usual targets need they lie closer
    together: the next one would often visit a third more lists than a target needs.
    """
    recalls: dict[int, float] = {}
    for width in _widths(most, first):
        recalls[width] = recall_with(width)
        if _is_enough(list(recalls.values())):
            break
    for target in USUAL_TARGETS:
        while (width := _between(sorted(recalls.items()), _needed(target))) is not None:
            recalls[width] = recall_with(width)
    return sorted(recalls.items())


def _widths(most: int, first: int) -> Iterator[int]:
    """Widths that grow by a third or a half, up to the widest."""
    width = first
    while width < most:
        yield width
        width += max(1, width // (3 if width & (width - 1) else 2))
    yield most


def _is_enough(recalls: list[float]) -> bool:
    """Whether wider searches find hardly more; codes may hide the remaining neighbours."""
    if recalls[-1] >= _ENOUGH:
        return True
    return len(recalls) > 2 and 0.5 < recalls[-1] < recalls[-3] + 1 - _ENOUGH


def _between(curve: RecallCurve, recall: float) -> int | None:
    """A width between the last one below a recall and the first one that reaches it.

    None if these are close, or if all or none reach it.
    """
    for (narrow, less), (wide, more) in pairwise(curve):
        if less < recall <= more:
            return (narrow + wide) // 2 if wide - narrow > max(1, narrow // _FINE) else None
    return None


def _needed(target: float) -> float:
    """The recall to measure for a target."""
    return 1 - _SAFETY * (1 - target)


def width_for(curve: RecallCurve, target: float) -> int:
    """The least width that reaches a recall; if none does, that with the highest recall.

    The measured recall must miss a fifth less than the target allows, because it may be lower for
    other rows.
    """
    for width, recall in curve:
        if recall >= _needed(target):
            return width
    return max(curve, key=lambda point: point[1])[0]


def recall_at(curve: RecallCurve, width: int) -> float:
    """The recall measured with a width, or with the next smaller one."""
    return max((point for point in curve if point[0] <= width), default=curve[0])[1]


def curve_of(facts: Mapping[str, Any]) -> RecallCurve:
    """The curve in the facts of an index."""
    return [(int(width), float(recall)) for width, recall in facts["curve"]]
