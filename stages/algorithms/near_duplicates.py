"""Near-duplicates by cosine: which rows to keep, and for every other row the one that stays.

A row is dropped where a row that is kept, and comes before it in the order of preference, is at
least as similar as a threshold. SemDeDup (Abbas et al., arXiv 2303.09540, section 3) drops a row
for any row before it in its cluster, dropped or not, so that chains of small steps are dropped for
one end; connected components glue such chains too. Here every dropped row is near the very row that
stays for it, and as many rows stay as that takes. SemDeDup compares within the clusters of k-means
alone and misses what a border parts; here nothing is missed.
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
"""In place of a row that there is not."""

_EXACT_COST = 20_000
"""Dimensions of a bound that cost as much as one exact comparison: 1 µs, for two rows must be
gathered, against 0.05 ns (2 cores, d = 512)."""
_TRIED = (16, 32, 48, 64, 96, 128, 192, 256, 384)
"""Dimensions of a bound, of which the cheapest number is taken."""
_SAMPLE = 2048
"""Rows from which the directions of the coarse rows, and their number, are found."""
_QUERIES = 1024
_OTHERS = 16_384
"""Rows of one block of comparisons: 64 MiB in float32."""
_PAIRS = 16_384
"""Pairs that are compared exactly at once: where all pairs are near, memory must not fill."""
_SLACK = 1e-4
"""What a rotation in float32 may take from a cosine, ten times over."""
_ROUNDING = 1e-6
"""What float32 may take from the cosine of equal rows, so that a threshold of 1 finds them."""


class NearDuplicates(NamedTuple):
    """For each row the row that stays for it."""

    kept: Int64[ndarray, " n"]
    """`NONE` where the row stays itself."""
    similarity: Float32[ndarray, " n"]
    """Cosine with that row; 1 where the row stays itself."""


def near_duplicates(
    x: Float[Tensor, "n d"],
    order: Int64[Tensor, " n"],
    threshold: float,
    *,
    device: str = "cpu",
    tell: Callable[[int], None] = lambda rows: None,
) -> NearDuplicates:
    """Goes through rows in an order of preference; see above. Their length does not matter.

    Of several rows that could stay for one, the most similar is taken. All pairs of rows that stay
    are compared, by a bound of few dimensions first: n²/2 comparisons, in memory for n rows and a
    block. Rows that are dropped compare themselves with nothing, so many copies of one picture cost
    no more than one. `tell` hears how many rows were decided.
    """
    n = len(x)
    rows = x[order]
    coarse = coarse_rows(rows, threshold, device)
    found = NearDuplicates(np.full(n, NONE), np.full(n, -1, np.float32))
    for start in range(0, n, _QUERIES):
        stop = min(start + _QUERIES, n)
        leaders = _decide(_unit(rows[start:stop]), start, threshold, found)
        for first in range(stop, n, _OTHERS):
            _compare(rows, coarse, leaders, first, threshold, found)
        tell(stop - start)
    stays = found.kept == NONE
    back = order.numpy()
    told = NearDuplicates(np.empty_like(found.kept), np.empty_like(found.similarity))
    told.kept[back] = np.where(stays, NONE, back[found.kept])
    told.similarity[back] = np.where(stays, 1, np.minimum(found.similarity, 1))
    return told


def coarse_rows(
    rows: Float[Tensor, "n d"], threshold: float, device: str
) -> Float32[Tensor, "n r"]:
    """Rows whose inner products are upper bounds of the cosines: n·r numbers instead of n·d.

    Each is a row in its leading directions, with the length of what it lacks behind them: by the
    inequality of Cauchy and Schwarz two rows lack no more than the product of these lengths. There
    are as many directions as make the whole comparison cheapest, measured on a sample.
    """
    sample = _unit(rows[:: max(1, math.ceil(len(rows) / _SAMPLE))].to(device))
    # Not every device has float64, and one matrix (d, d) costs the processor little.
    doubled = sample.cpu().double()
    directions = torch.linalg.eigh(doubled.T @ doubled).eigenvectors.flip(1).float().to(device)
    costs = {}
    for r in [one for one in _TRIED if one < rows.shape[1]]:
        bounds = _coarse(sample, directions[:, :r])
        rate = (bounds @ bounds.T >= threshold - _SLACK).float().mean()
        costs[r] = r + _EXACT_COST * float(rate)
    cheapest = min(costs, key=costs.__getitem__, default=rows.shape[1])
    blocks = [
        _coarse(_unit(block.to(device)), directions[:, :cheapest]) for block in rows.split(_OTHERS)
    ]
    return torch.cat(blocks)


def _unit(block: Tensor) -> Tensor:
    """Rows of unit length in float32: those that were rounded to float16 are not quite."""
    return torch.nn.functional.normalize(block.float(), dim=1)


def _coarse(block: Tensor, directions: Tensor) -> Tensor:
    inside = block @ directions
    lack = (block.square().sum(1) - inside.square().sum(1)).clamp(min=0).sqrt()
    return torch.cat([inside, lack[:, None]], 1)


def _decide(block: Tensor, start: int, threshold: float, found: NearDuplicates) -> Tensor:
    """Which rows of a block stay, by their numbers; drops the others of those not dropped before.

    One after another, as each waits for those before it.
    """
    cosine = block @ block.T
    is_near = (cosine >= threshold - _ROUNDING).triu(1).numpy()
    stays = found.kept[start : start + len(block)] == NONE
    for row in np.flatnonzero(is_near.any(1)).tolist():
        if stays[row]:
            stays &= ~is_near[row]
    is_near &= stays[:, None]
    query, other = is_near.nonzero()
    _take(query + start, other + start, cosine.numpy()[query, other], found)
    return torch.from_numpy(stays.nonzero()[0] + start)


def _compare(
    rows: Tensor,
    coarse: Tensor,
    leaders: Tensor,
    first: int,
    threshold: float,
    found: NearDuplicates,
) -> None:
    """Drops what is near rows that stay, among a block of rows behind them."""
    bounds = coarse[leaders.to(coarse.device)] @ coarse[first : first + _OTHERS].T
    pairs = (bounds >= threshold - _SLACK).nonzero().cpu()
    for start in range(0, len(pairs), _PAIRS):
        left, right = pairs[start : start + _PAIRS].T
        query, other = leaders[left], right + first
        cosine = (_unit(rows[query]) * _unit(rows[other])).sum(1)
        near = cosine >= threshold - _ROUNDING
        _take(query[near].numpy(), other[near].numpy(), cosine[near].numpy(), found)


def _take(query: ndarray, other: ndarray, cosine: ndarray, found: NearDuplicates) -> None:
    """Notes for each other row the most similar query, and of equals the first."""
    better = cosine > found.similarity[other]
    query, other, cosine = query[better], other[better], cosine[better]
    # Of several assignments to one place NumPy leaves the last.
    last = np.lexsort((-query, cosine))
    found.kept[other[last]] = query[last]
    found.similarity[other[last]] = cosine[last]
