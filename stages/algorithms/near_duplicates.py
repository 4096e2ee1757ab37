"""Near-duplicates by cosine: which rows to keep, and for every dropped row the one kept for it.

A row is dropped if a kept row that comes before it in the order of preference has at least the
threshold's cosine with it. SemDeDup (Abbas et al., arXiv 2303.09540, section 3) drops a row for any
earlier row of its cluster, itself dropped or not, so that a chain of small steps is reduced to one
end; connected components also join such chains. Here every dropped row is near the row kept for
it, and as many rows are kept as that needs. SemDeDup only compares rows within a k-means cluster,
and misses pairs across a border; here none is missed.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from torch import Tensor

NONE = -1
"""Stands for no row."""

_EXACT_COST = 20_000
"""Dimensions of a bound that cost as much as one exact comparison: that takes 1 µs, because it
gathers two rows; a dimension takes 0.05 ns (2 cores, d = 512)."""
_TRIED = (16, 32, 48, 64, 96, 128, 192, 256, 384)
"""Numbers of dimensions to try for the bound; the cheapest is used."""
_SAMPLE = 2048
"""Rows from which the directions of the coarse rows, and their number, are determined."""
_QUERIES = 1024
_OTHERS = 16_384
"""Rows in a block of comparisons: 64 MiB in float32."""
_PAIRS = 16_384
"""Pairs that are compared exactly at once; bounds the memory where all pairs are near."""
_SLACK = 1e-4
"""Ten times the error of a cosine after a rotation in float32."""
_ROUNDING = 1e-6
"""Error of the cosine of equal rows in float32, so that a threshold of 1 finds them."""


class NearDuplicates(NamedTuple):
    """For each row the row that is kept for it."""

    kept: Int64[ndarray, " n"]
    """`NONE` where the row itself is kept."""
    similarity: Float32[ndarray, " n"]
    """Cosine with that row; 1 where the row itself is kept."""


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
    ordered = NearDuplicates(np.full(n, NONE), np.full(n, -1, np.float32))
    for start in range(0, n, _QUERIES):
        stop = min(start + _QUERIES, n)
        leaders = _decide(_unit(rows[start:stop]), start, threshold, ordered)
        for first in range(stop, n, _OTHERS):
            _compare(rows, coarse, leaders, first, threshold, ordered)
        report(stop - start)
    is_kept = ordered.kept == NONE
    numbers = order.numpy()
    by_row = NearDuplicates(np.empty_like(ordered.kept), np.empty_like(ordered.similarity))
    by_row.kept[numbers] = np.where(is_kept, NONE, numbers[ordered.kept])
    by_row.similarity[numbers] = np.where(is_kept, 1, np.minimum(ordered.similarity, 1))
    return by_row


def coarse_rows(
    rows: Float[Tensor, "n d"], threshold: float, device: str
) -> Float32[Tensor, "n r"]:
    """Rows whose inner products are upper bounds of the cosines: n·r numbers instead of n·d.

    A coarse row holds the row's coordinates along the leading directions, and the length of its
    remainder. By the Cauchy-Schwarz inequality, the remainders of two rows add at most the product
    of their lengths to the cosine. The number of directions is the one that makes the whole
    comparison cheapest on a sample.
    """
    sample = _unit(rows[:: max(1, math.ceil(len(rows) / _SAMPLE))].to(device))
    # Not every device has float64, and one (d, d) matrix is cheap on the CPU.
    doubled = sample.cpu().double()
    directions = torch.linalg.eigh(doubled.T @ doubled).eigenvectors.flip(1).float().to(device)
    costs = {}
    for r in [r for r in _TRIED if r < rows.shape[1]]:
        bounds = _coarse(sample, directions[:, :r])
        rate = (bounds @ bounds.T >= threshold - _SLACK).float().mean()
        costs[r] = r + _EXACT_COST * float(rate)
    cheapest = min(costs, key=costs.__getitem__, default=rows.shape[1])
    blocks = [
        _coarse(_unit(block.to(device)), directions[:, :cheapest]) for block in rows.split(_OTHERS)
    ]
    return torch.cat(blocks)


def _unit(block: Tensor) -> Tensor:
    """Rows of unit length in float32; rows rounded to float16 are only nearly so."""
    return torch.nn.functional.normalize(block.float(), dim=1)


def _coarse(block: Tensor, directions: Tensor) -> Tensor:
    inside = block @ directions
    remainder = (block.square().sum(1) - inside.square().sum(1)).clamp(min=0).sqrt()
    return torch.cat([inside, remainder[:, None]], 1)


def _decide(block: Tensor, start: int, threshold: float, ordered: NearDuplicates) -> Tensor:
    """Numbers of the kept rows of a block; drops the other rows that were not dropped before.

    One row after another, because each depends on those before it.
    """
    cosine = block @ block.T
    is_near = (cosine >= threshold - _ROUNDING).triu(1).numpy()
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
    pairs = (bounds >= threshold - _SLACK).nonzero().cpu()
    for start in range(0, len(pairs), _PAIRS):
        left, right = pairs[start : start + _PAIRS].T
        query, other = leaders[left], right + first
        cosine = (_unit(rows[query]) * _unit(rows[other])).sum(1)
        near = cosine >= threshold - _ROUNDING
        _record(query[near].numpy(), other[near].numpy(), cosine[near].numpy(), ordered)


def _record(query: ndarray, other: ndarray, cosine: ndarray, ordered: NearDuplicates) -> None:
    """Records for each other row the most similar query; of equals the first."""
    better = cosine > ordered.similarity[other]
    query, other, cosine = query[better], other[better], cosine[better]
    # Of several assignments to one entry NumPy keeps the last.
    order = np.lexsort((-query, cosine))
    ordered.kept[other[order]] = query[order]
    ordered.similarity[other[order]] = cosine[order]
