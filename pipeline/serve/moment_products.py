"""The similarity of clusters: cosines between the second moments of their features."""

from collections.abc import Sequence

import numpy as np

_BATCH_ROWS = 256
"""Rows of one matrix product: limits the memory."""

_BLOCK_CLUSTERS = 256
"""Clusters whose rows are copied at once: also limits it."""


def moment_products(
    samples: Sequence[np.ndarray], clusters: Sequence[int] | None = None
) -> np.ndarray:
    """(k, k) float64 estimates of tr(M_a M_b), where M is the mean of z zᵀ over a cluster's rows.

    `samples` are rows (m, p) of each cluster. The trace is the mean of (z_i·z_j)² over pairs of
    rows of both clusters; a row is not paired with itself, which would make small samples look more
    alike than they are. 0 for a cluster without rows. With `clusters`, only their lines.
    """
    chosen = range(len(samples)) if clusters is None else clusters
    counts = np.array([len(sample) for sample in samples])
    sums = _sums_of_squares([samples[cluster] for cluster in chosen], samples)
    products = sums / np.maximum(np.outer(counts[list(chosen)], counts), 1)
    for line, cluster in enumerate(chosen):
        products[line, cluster] = _own_product(samples[cluster])
    return products


def own_products(samples: Sequence[np.ndarray]) -> np.ndarray:
    """(k,) the diagonal of `moment_products`."""
    return np.array([_own_product(sample) for sample in samples])


def _own_product(sample: np.ndarray) -> float:
    z, n = sample.astype(np.float32), len(sample)
    # A row paired with itself adds the fourth power of its length.
    own = float(((z**2).sum(1) ** 2).sum(dtype=np.float64))
    pairs = float(((z @ z.T) ** 2).sum(dtype=np.float64))
    return (pairs - own) / (n * (n - 1)) if n > 1 else own


def _sums_of_squares(samples: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """(a, b) sums of (x_i·z_j)² over the pairs of rows of one sample and another."""
    sums = np.zeros((len(samples), len(others)))
    nonempty = [place for place, sample in enumerate(others) if len(sample)]
    owner = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    if not nonempty or not len(owner):
        return sums
    x = np.concatenate([sample for sample in samples if len(sample)]).astype(np.float32)
    for start in range(0, len(nonempty), _BLOCK_CLUSTERS):
        places = nonempty[start : start + _BLOCK_CLUSTERS]
        z = np.concatenate([others[place] for place in places]).astype(np.float32)
        starts = np.cumsum([0, *(len(others[place]) for place in places[:-1])])
        for first in range(0, len(x), _BATCH_ROWS):
            squares = (x[first : first + _BATCH_ROWS] @ z.T) ** 2
            by_sample = np.add.reduceat(squares, starts, axis=1)
            for row, row_sums in zip(owner[first : first + _BATCH_ROWS], by_sample, strict=True):
                sums[row, places] += row_sums
    return sums


def union_products(products: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(q, q) products of unions of clusters; `weights` (q, k) are shares of a union's rows."""
    return weights @ products @ weights.T


def cosines(products: np.ndarray, own: np.ndarray, cluster: int) -> np.ndarray:
    """(k,) cosines between the moment of one cluster and of each, 0 to 1; 0 for empty clusters.

    `products` (k,) are those of the cluster with each, `own` (k,) those of each with itself.
    """
    lengths = np.sqrt(np.maximum(own, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = products / (lengths * lengths[cluster])
    return np.clip(np.where(np.isfinite(ratios), ratios, 0), 0, 1)
