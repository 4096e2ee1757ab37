"""Clusters that are pieces of one: found by how alike their embeddings are, and joined.

k-means, and spectral clustering after it, cut a large group into pieces of the size of the others.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.cluster import KMeans

LEAST_OVERLAP = 0.8
"""Never are clusters joined that are less alike than this, whatever the halves of others say."""
SURPLUS = (0.4, 0.2, 0.1, 0.05)
"""Shares of k by which more clusters are tried, in falling order."""
LEAST_WITHIN = 1e-3
"""The mean cosine within a cluster counts as at least this, so that nothing divides by zero."""


def overlap(sums: Float[ndarray, "k d"], counts: Int[ndarray, " k"]) -> Float[ndarray, "k k"]:
    """Mean cosine between two clusters' unit rows over the geometric mean of those within each.

    From the sum of each cluster's rows. A row's cosine with itself is left out, so pieces of one
    group have 1 on average, whatever their sizes; clusters of one row count as tight. −1 on the
    diagonal.
    """
    n = counts.astype(float)
    products = sums @ sums.T
    pairs = np.maximum(n * (n - 1), 1)
    within = np.where(n > 1, (np.diag(products) - n) / pairs, 1.0)
    root = np.sqrt(np.maximum(within, LEAST_WITHIN))
    out = products / np.outer(n * root, n * root)
    np.fill_diagonal(out, -1)
    return out


def overlap_of_halves(
    x: Float[ndarray, "m d"], labels: Int[ndarray, " m"], k: int, seed: int
) -> float:
    """Median over the clusters of the overlap of their two halves by k-means; 1 without any.

    Clusters of fewer than four rows are left out.
    """
    found = []
    for cluster in range(k):
        rows = x[labels == cluster]
        if len(rows) < 4 or np.ptp(rows, axis=0).max() == 0:
            continue
        half = KMeans(2, n_init=1, random_state=seed).fit_predict(rows)
        found.append(float(overlap(*_sums(rows, half, 2))[0, 1]))
    return float(np.median(found)) if found else 1.0


def join(
    x: Float[ndarray, "m d"], labels: Int[ndarray, " m"], k: int
) -> tuple[Int[ndarray, " more"], float]:
    """Joins the two most alike of the clusters again and again until `k` are left.

    Returns the new number of each cluster, and the least overlap of two that were joined.
    """
    sums, counts = _sums(x, labels, int(labels.max()) + 1)
    group = np.arange(len(counts))
    alive = np.arange(len(counts))
    least = 1.0
    while len(alive) > k:
        likeness = overlap(sums[alive], counts[alive])
        i, j = np.unravel_index(likeness.argmax(), likeness.shape)
        least = min(least, float(likeness[i, j]))
        keep, gone = alive[min(i, j)], alive[max(i, j)]
        sums[keep] += sums[gone]
        counts[keep] += counts[gone]
        group[group == gone] = keep
        alive = alive[alive != gone]
    return np.searchsorted(alive, group), least


def cluster_and_join(
    x: Float[ndarray, "m d"],
    cluster: Callable[[int], tuple[Int[ndarray, " m"], Float[ndarray, "more e"]]],
    k: int,
    most: int,
    seed: int,
) -> tuple[Int[ndarray, " m"], Float[ndarray, "more e"], Int[ndarray, " more"]]:
    """`k` clusters, made of the most pieces of which every two that are joined are alike.

    `cluster(n)` gives labels and centroids of n pieces, up to `most`. Pieces are alike when they
    overlap as the halves of half of the k clusters do, and by `LEAST_OVERLAP` at least. Returns the
    labels of the pieces, their centroids, and the cluster of each piece. `x` are unit rows about
    the mean of all.
    """
    labels, centroids = cluster(k)
    alike = max(LEAST_OVERLAP, overlap_of_halves(x, labels, len(centroids), seed))
    for share in SURPLUS:
        pieces = min(most, k + round(share * k))
        if pieces <= k or k < 2:
            continue
        more, their_centroids = cluster(pieces)
        if len(their_centroids) <= k:
            continue
        group, least = join(x, more, k)
        if least >= alike:
            return more, their_centroids, group
    return labels, centroids, np.arange(len(centroids))


def _sums(x: ndarray, labels: ndarray, k: int) -> tuple[ndarray, ndarray]:
    sums = np.zeros((k, x.shape[1]))
    np.add.at(sums, labels, x)
    return sums, np.bincount(labels, minlength=k)
