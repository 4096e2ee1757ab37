"""Exact neighbours of held-out rows, found block by block, and the recall of a search."""

from typing import NamedTuple

import numpy as np

NEIGHBOURS = 10
"""Neighbours per query: recall@10 is measured."""

QUERIES = 500
"""At most this many held-out rows: 5,000 neighbours give recall within a third of a per cent."""

_TIE = 1e-6
"""Float32 similarities of unit rows differ by this much with the order of summation."""


class Nearest(NamedTuple):
    """The most similar rows to each query, best first; row -1 if there are no more."""

    similarities: np.ndarray
    """float32 (q, n)."""
    rows: np.ndarray
    """int64 (q, n)."""


def no_neighbours(queries: int) -> Nearest:
    """The empty result for a number of queries."""
    return Nearest(
        np.full((queries, NEIGHBOURS), -np.inf, np.float32),
        np.full((queries, NEIGHBOURS), -1, np.int64),
    )


def nearest_in_block(
    queries: np.ndarray, block: np.ndarray, start: int, own: np.ndarray
) -> Nearest:
    """The nearest rows in a block, float32 (n, d), whose first row is `start`; uses one thread.

    `own` (q,) holds each query's own row, which does not count as its neighbour; -1 if it has
    none. NumPy's product and selection take a third of the time of FAISS' search: 56 ms instead
    of 150 for 500 queries and 8,192 rows of 512.
    """
    if not len(queries) or not len(block):
        return no_neighbours(len(queries))
    similarities = queries @ block.T
    inside = own - start
    has_own = (own >= 0) & (inside >= 0) & (inside < len(block))
    similarities[np.flatnonzero(has_own), inside[has_own]] = -np.inf
    n = min(NEIGHBOURS, len(block))
    rows = np.argpartition(similarities, -n, axis=1)[:, -n:]
    best = np.take_along_axis(similarities, rows, 1)
    found = Nearest(best, np.where(np.isneginf(best), -1, rows + start))
    return merge_nearest(no_neighbours(len(queries)), found)


def merge_nearest(left: Nearest, right: Nearest) -> Nearest:
    """The nearest rows of both; the lower row number wins a tie."""
    similarities = np.hstack([left.similarities, right.similarities]).astype(np.float32)
    rows = np.hstack([left.rows, right.rows])
    order = np.lexsort((rows, -similarities), axis=1)[:, :NEIGHBOURS]
    return Nearest(np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1))


def measure_recall(nearest: Nearest, truth: Nearest, own: np.ndarray) -> float:
    """The share of true neighbours that were found; rows of `own`, int64 (q, m), do not count.

    A row as similar as the last true neighbours counts as one of them: copies are equal.
    """
    is_neighbour = truth.rows >= 0
    total = int(is_neighbour.sum())
    if not total:
        return 1.0
    last = np.where(is_neighbour, truth.similarities, np.inf).min(1)
    is_same = nearest.rows[:, :, None] == truth.rows[:, None, :]
    is_found = is_neighbour & is_same.any(1)
    is_own = [np.isin(rows, numbers) for rows, numbers in zip(nearest.rows, own, strict=True)]
    is_other = (nearest.rows >= 0) & ~np.array(is_own) & ~is_same.any(2)
    is_other &= nearest.similarities >= last[:, None] - _TIE
    is_missed = is_neighbour & ~is_found & (truth.similarities <= last[:, None] + _TIE)
    hits = is_found.sum(1) + np.minimum(is_other.sum(1), is_missed.sum(1))
    return int(hits.sum()) / total
