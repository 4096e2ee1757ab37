"""The recall measured with each search width, and the width that a target recall needs."""

from collections.abc import Mapping, Sequence
from typing import Any

RecallCurve = Sequence[tuple[int, float]]
"""Search widths, ascending, and the recall@10 measured with each."""

_SAFETY = 0.8
"""The share of the allowed misses that may occur on the rows on which recall was measured."""


def width_for(curve: RecallCurve, target: float) -> int:
    """The least width that reaches a recall; if none does, that with the highest recall.

    The measured recall must miss a fifth less than the target allows, because it may be lower for
    other rows.
    """
    for width, recall in curve:
        if recall >= 1 - _SAFETY * (1 - target):
            return width
    return max(curve, key=lambda point: point[1])[0]


def recall_at(curve: RecallCurve, width: int) -> float:
    """The recall measured with a width, or with the next smaller one."""
    return max((point for point in curve if point[0] <= width), default=curve[0])[1]


def curve_of(facts: Mapping[str, Any]) -> RecallCurve:
    """The curve in the facts of an index."""
    return [(int(width), float(recall)) for width, recall in facts["curve"]]
