"""The similarity of clusters: cosines between the second moments of their features."""

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
    return update_products(np.zeros((0, 0)), samples, range(len(samples)))


def update_products(
    before: np.ndarray, samples: Sequence[np.ndarray], changed: Sequence[int]
) -> np.ndarray:
    """`moment_products` of samples; those of all that are not in `changed` are in `before`."""
    k = len(samples)
    products, kept = np.zeros((k, k)), min(k, len(before))
    products[:kept, :kept] = before[:kept, :kept]
    if not len(changed):
        return products
    counts = np.array([len(sample) for sample in samples])
    places = np.array(changed)
    sums = _sums_of_squares([samples[place] for place in changed], samples)
    means = sums / np.maximum(np.outer(counts[places], counts), 1)
    products[places], products[:, places] = means, means.T
    for row, place in enumerate(changed):
        # A row paired with itself adds the fourth power of its length.
        own = float(((samples[place].astype(np.float32) ** 2).sum(1) ** 2).sum())
        n = counts[place]
        products[place, place] = (sums[row, place] - own) / (n * (n - 1)) if n > 1 else own
    return products


def _sums_of_squares(samples: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """(a, b) sums of (x_i·z_j)² over the pairs of rows of one sample and another."""
    sums = np.zeros((len(samples), len(others)))
    nonempty = np.flatnonzero([len(sample) for sample in others])
    if not len(nonempty):
        return sums
    z = np.concatenate([sample for sample in others if len(sample)]).astype(np.float32)
    ends = np.cumsum([len(sample) for sample in others if len(sample)])
    starts = np.concatenate([[0], ends[:-1]])
    x = np.concatenate(samples).astype(np.float32)
    owner = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    for first in range(0, len(x), _BATCH_ROWS):
        squares = (x[first : first + _BATCH_ROWS] @ z.T) ** 2
        by_sample = np.add.reduceat(squares, starts, axis=1)
        for row, row_sums in zip(owner[first : first + _BATCH_ROWS], by_sample, strict=True):
            sums[row, nonempty] += row_sums
    return sums


def union_products(products: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(q, q) products of unions of clusters; `weights` (q, k) are shares of a union's rows."""
    return weights @ products @ weights.T


def cosines(products: np.ndarray, cluster: int) -> np.ndarray:
    """(k,) cosines between the moment of one cluster and of each, 0 to 1; 0 for empty clusters."""
    lengths = np.sqrt(np.maximum(np.diag(products), 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = products[cluster] / (lengths * lengths[cluster])
    return np.clip(np.where(np.isfinite(ratios), ratios, 0), 0, 1)
