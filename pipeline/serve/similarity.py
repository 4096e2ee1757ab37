"""How alike clusters are: cosines of the second moments of their features."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 256
"""Rows of one matrix product: bounds the memory."""


def moment_products(samples: "Sequence[np.ndarray]") -> "np.ndarray":
    """(k, k) float64 estimates of tr(M_a M_b), M the second moment of a cluster's rows over their
    number.

    `samples` are rows (m, p) of each cluster. That is the mean of (z_i·z_j)² over rows of both; a
    row is not paired with itself, which would make small samples look more alike than they are.
    Zero for a cluster without rows.
    """
    import numpy as np

    counts = np.array([len(one) for one in samples])
    summed = np.zeros((len(samples), len(samples)))
    there = np.flatnonzero(counts)
    if not len(there):
        return summed
    z = np.concatenate([one for one in samples if len(one)]).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(counts[there])[:-1]])
    owner = np.repeat(there, counts[there])
    for first in range(0, len(z), _AT_ONCE):
        squares = (z[first : first + _AT_ONCE] @ z.T) ** 2
        by_cluster = np.add.reduceat(squares, starts, axis=1)
        for row, sums in zip(owner[first : first + _AT_ONCE], by_cluster, strict=True):
            summed[row, there] += sums
    pairs = np.maximum(np.outer(counts, counts), 1).astype(np.float64)
    own = np.array([float(((one.astype(np.float32) ** 2).sum(1) ** 2).sum()) for one in samples])
    several = counts > 1
    diagonal = np.where(
        several, (np.diag(summed) - own) / np.maximum(counts * (counts - 1), 1), own
    )
    products = summed / pairs
    np.fill_diagonal(products, diagonal)
    return products


def of_unions(products: "np.ndarray", weights: "np.ndarray") -> "np.ndarray":
    """(q, q) products of unions of clusters; `weights` (q, k) are shares of their rows."""
    return weights @ products @ weights.T


def cosines(products: "np.ndarray", one: int) -> "np.ndarray":
    """(k,) cosines of the moments of one cluster and of each, 0 to 1; 0 for those without rows."""
    import numpy as np

    lengths = np.sqrt(np.maximum(np.diag(products), 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = products[one] / (lengths * lengths[one])
    return np.clip(np.where(np.isfinite(found), found, 0), 0, 1)
