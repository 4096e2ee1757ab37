"""How alike clusters are: cosines between the second moments of their features."""

from collections.abc import Sequence

import numpy as np

_BATCH_ROWS = 256
"""Rows of one matrix product: limits the memory."""


def moment_products(samples: Sequence[np.ndarray]) -> np.ndarray:
    """(k, k) float64 estimates of tr(M_a M_b), where M is the mean of z zᵀ over a cluster's rows.

    `samples` are rows (m, p) of each cluster. The trace is the mean of (z_i·z_j)² over pairs of
    rows of both clusters; a row is not paired with itself, which would make small samples look more
    alike than they are. 0 for a cluster without rows.
    """
    counts = np.array([len(sample) for sample in samples])
    summed = np.zeros((len(samples), len(samples)))
    nonempty = np.flatnonzero(counts)
    if not len(nonempty):
        return summed
    z = np.concatenate([sample for sample in samples if len(sample)]).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(counts[nonempty])[:-1]])
    cluster = np.repeat(nonempty, counts[nonempty])
    for first in range(0, len(z), _BATCH_ROWS):
        squares = (z[first : first + _BATCH_ROWS] @ z.T) ** 2
        by_cluster = np.add.reduceat(squares, starts, axis=1)
        for row, sums in zip(cluster[first : first + _BATCH_ROWS], by_cluster, strict=True):
            summed[row, nonempty] += sums
    pairs = np.maximum(np.outer(counts, counts), 1).astype(np.float64)
    # The pairs of a row with itself: the fourth power of its length.
    own = np.array(
        [float(((sample.astype(np.float32) ** 2).sum(1) ** 2).sum()) for sample in samples]
    )
    diagonal = np.where(
        counts > 1, (np.diag(summed) - own) / np.maximum(counts * (counts - 1), 1), own
    )
    products = summed / pairs
    np.fill_diagonal(products, diagonal)
    return products


def union_products(products: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(q, q) products of unions of clusters; `weights` (q, k) are shares of a union's rows."""
    return weights @ products @ weights.T


def cosines(products: np.ndarray, cluster: int) -> np.ndarray:
    """(k,) cosines between the moment of one cluster and of each, 0 to 1; 0 for empty clusters."""
    lengths = np.sqrt(np.maximum(np.diag(products), 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = products[cluster] / (lengths * lengths[cluster])
    return np.clip(np.where(np.isfinite(ratios), ratios, 0), 0, 1)
