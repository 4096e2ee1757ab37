"""Near-duplicates by cosine: which rows to keep, and which kept row each dropped row is near to.

A row is dropped if a kept row that comes before it in the order of preference has at least the
threshold's cosine with it. SemDeDup (Abbas et al., arXiv 2303.09540, section 3) drops a row for any
earlier row of its cluster, itself dropped or not, so that a chain of small steps is reduced to one
end; connected components also join such chains. Here every dropped row is near the row kept for
it, and as many rows are kept as that needs. SemDeDup only compares rows within a k-means cluster,
and misses pairs across a border; here none is missed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from torch import Tensor

from .bounds import SLACK, coarse_rows, unit

NONE = -1
"""No row."""

_QUERIES = 1024
_OTHERS = 16_384
"""Rows in a block of comparisons: 64 MiB in float32."""
_PAIRS = 16_384
"""Pairs that are compared exactly at once; bounds the memory if all pairs are near."""
ROUNDING = 1e-6
"""Error of the cosine of equal rows in float32, so that a threshold of 1 finds them."""


class NearDuplicates(NamedTuple):
    """For each row, the row that is kept in its place."""

    kept: Int64[ndarray, " n"]
    """`NONE` if the row itself is kept."""
    similarity: Float32[ndarray, " n"]
    """Cosine with that row; 1 if the row itself is kept."""


def near_duplicates(
    x: Float[Tensor, "n d"],
    order: Int64[Tensor, " n"],
    threshold: float,
    *,
    device: str = "cpu",
    report: Callable[[int], None] = lambda rows: None,
) -> NearDuplicates:
    """Decides rows one by one in the given order of preference; their length does not matter.

    Of several rows that could be kept for a dropped one, the most similar is taken. All pairs of
    kept rows are compared, first by a bound of few dimensions: n²/2 comparisons, with memory for n
    rows and a block. Dropped rows are not compared any further, so many copies of an image cost no
    more than one. `report` gets the number of rows that were decided.
    """
    n = len(x)
    rows = x[order]
    coarse = coarse_rows(rows, threshold, device)
    ordered = undecided(n)
    decide(rows, coarse, threshold, ordered, report)
    return by_row(ordered, order.numpy())


def undecided(n: int) -> NearDuplicates:
    """n rows that are all kept so far."""
    return NearDuplicates(np.full(n, NONE), np.full(n, -1, np.float32))


def decide(
    rows: Float[Tensor, "n d"],
    coarse: Float[Tensor, "n r"],
    threshold: float,
    ordered: NearDuplicates,
    report: Callable[[int], None],
) -> None:
    """Decides rows in their order; rows that were dropped before stay dropped."""
    n = len(rows)
    for start in range(0, n, _QUERIES):
        stop = min(start + _QUERIES, n)
        leaders = _decide(unit(rows[start:stop]), start, threshold, ordered)
        for first in range(stop, n, _OTHERS):
            _compare(rows, coarse, leaders, first, threshold, ordered)
        report(stop - start)


def by_row(ordered: NearDuplicates, numbers: Int64[ndarray, " n"]) -> NearDuplicates:
    """The decisions by row number instead of by place in the order."""
    is_kept = ordered.kept == NONE
    decided = NearDuplicates(np.empty_like(ordered.kept), np.empty_like(ordered.similarity))
    decided.kept[numbers] = np.where(is_kept, NONE, numbers[ordered.kept])
    decided.similarity[numbers] = np.where(is_kept, 1, np.minimum(ordered.similarity, 1))
    return decided


def _decide(block: Tensor, start: int, threshold: float, ordered: NearDuplicates) -> Tensor:
    """Numbers of the kept rows of a block; drops the other rows that were not dropped before.

    One row after another, because each depends on those before it.
    """
    cosine = block @ block.T
    is_near = (cosine >= threshold - ROUNDING).triu(1).numpy()
    is_kept = ordered.kept[start : start + len(block)] == NONE
    for row in np.flatnonzero(is_near.any(1)).tolist():
        if is_kept[row]:
            is_kept &= ~is_near[row]
    is_near &= is_kept[:, None]
    query, other = is_near.nonzero()
    _record(query + start, other + start, cosine.numpy()[query, other], ordered)
    return torch.from_numpy(is_kept.nonzero()[0] + start)


def _compare(
    rows: Tensor,
    coarse: Tensor,
    leaders: Tensor,
    first: int,
    threshold: float,
    ordered: NearDuplicates,
) -> None:
    """Drops rows near the leaders in a block of later rows, from number `first` on."""
    bounds = coarse[leaders.to(coarse.device)] @ coarse[first : first + _OTHERS].T
    pairs = (bounds >= threshold - SLACK).nonzero().cpu()
    for start in range(0, len(pairs), _PAIRS):
        left, right = pairs[start : start + _PAIRS].T
        query, other = leaders[left], right + first
        record_near(rows[query], rows[other], query.numpy(), other.numpy(), threshold, ordered)


def record_near(
    leaders: Float[Tensor, "m d"],
    others: Float[Tensor, "m d"],
    query: Int64[ndarray, " m"],
    other: Int64[ndarray, " m"],
    threshold: float,
    ordered: NearDuplicates,
) -> None:
    """Drops the rows `other` that reach the threshold with the leaders `query`, given both."""
    cosine = (unit(leaders) * unit(others)).sum(1)
    near = (cosine >= threshold - ROUNDING).numpy()
    _record(query[near], other[near], cosine.numpy()[near], ordered)


def _record(query: ndarray, other: ndarray, cosine: ndarray, ordered: NearDuplicates) -> None:
    """Records for each other row the most similar query; the first of equal ones."""
    better = cosine > ordered.similarity[other]
    query, other, cosine = query[better], other[better], cosine[better]
    # Of several assignments to one entry NumPy keeps the last.
    order = np.lexsort((-query, cosine))
    ordered.kept[other[order]] = query[order]
    ordered.similarity[other[order]] = cosine[order]
