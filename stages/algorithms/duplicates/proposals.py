"""Pairs of rows that may show the same image: nearest rows by cosine, and rows in one cell."""

import numpy as np
import torch
from jaxtyping import Float16, Float32, Int64, UInt64
from numpy import ndarray
from torch import Tensor

from ..neighbours import nearest_rows
from .cells import VISITED, draw_sample, fit_cells, grouped
from .image_hashes import distances
from .large_sets import points_of

LOOSE = 16
"""Most bits in which the hashes of an image and of a crop may differ: 98 % of crops of 5 % of
photographs differ in fewer, and 4 % of pairs of different photographs with a cosine of 0.9."""
_BLOCK = 4096
_SEED = 0
_CROWDED = 8192
"""Most rows of a cell that a row is compared with: those next in order."""
_QUERIES = 1024


def propose(rows: Float32[ndarray, "n d"], count: int, least: float) -> Int64[ndarray, "m 2"]:
    """Pairs of each unit row and its `count` nearest others, if their cosine is `least` or more.

    Each pair once, the smaller number first. All pairs are compared: n² d products.
    """
    near = nearest_rows(rows, count)
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), _BLOCK):
        block = near[start : start + _BLOCK]
        cosines = np.einsum("bd,bmd->bm", rows[start : start + len(block)], rows[block])
        place, other = (cosines >= least).nonzero()
        pairs.append(np.sort(np.stack([start + place, block[place, other]], 1), axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def propose_in_cells(
    coarse: Float16[Tensor, "n r"], hashes: UInt64[ndarray, " n"], least: float
) -> Int64[ndarray, "m 2"]:
    """Pairs in the same cells whose hashes differ little, and whose cosine may be `least` or more.

    Each pair once, the smaller number first. `coarse` is from `large_sets.coarse_of`.
    """
    n = len(hashes)
    if n < 2:
        return np.empty((0, 2), np.int64)
    points = points_of(coarse)
    cells = fit_cells(points[draw_sample(n, _SEED)])
    visits = cells.nearest(points, VISITED).astype(np.int32)
    members = {group.cell: group.rows for group in grouped(visits[:, :1], len(cells.fine))}
    codes = [np.empty(0, np.int64)]
    for group in grouped(visits, len(cells.fine)):
        others = members.get(group.cell)
        if others is None:
            continue
        for start in range(0, len(group.rows), _QUERIES):
            queries = group.rows[start : start + _QUERIES]
            first = int(np.searchsorted(others, queries[len(queries) // 2])) - _CROWDED // 2
            candidates = others[max(0, min(first, len(others) - _CROWDED)) :][:_CROWDED]
            codes.append(_similar(coarse, hashes, queries, candidates, least))
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), n), 1)


def _similar(
    coarse: Tensor, hashes: ndarray, queries: ndarray, others: ndarray, least: float
) -> Int64[ndarray, " m"]:
    """Similar pairs of queries and others, each coded as one number."""
    left, right = (coarse[torch.from_numpy(rows)].float() for rows in (queries, others))
    query, other = (left @ right.T >= least).numpy().nonzero()
    query, other = queries[query], others[other]
    is_near = (distances(hashes[query], hashes[other]) <= LOOSE) & (query != other)
    query, other = query[is_near], other[is_near]
    return np.minimum(query, other) * len(hashes) + np.maximum(query, other)
