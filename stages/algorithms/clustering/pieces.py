"""Clusters that are pieces of one: found by how alike their embeddings are, and joined.

k-means, and spectral clustering after it, cut a large group into pieces of the size of the others.
"""

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from sklearn.metrics import silhouette_score

from .kmeans import breathing_kmeans, nearest
from .sampling import choose_rows

LEAST_OVERLAP = 0.77
"""Clusters that are less alike than this are never joined."""
GAIN = 0.1
"""Share by which joining must raise the silhouette. Of sets with very unequal classes it rose by
0.08 to 0.37, of others by less than 0.1 in nearly all of 54 trials (docs/what-we-learned.md)."""
SURPLUS = (0.2, 0.1)
"""Shares of k by which more clusters are tried, in falling order."""
MEASURED = 2000
"""Rows whose silhouettes are taken, at most."""
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


def join_pieces(
    x: Float32[ndarray, "m d"],
    points: Float32[ndarray, "m q"],
    labels: Int[ndarray, " m"],
    k: int,
    seed: int,
) -> tuple[Float32[ndarray, "more q"], Int[ndarray, " more"]] | None:
    """Pieces of k clusters, as centroids and the cluster of each; None where joining does not pay.

    `labels` are the k clusters of the points to be better than. Joined pieces must overlap by
    `LEAST_OVERLAP`, and the silhouette (Rousseeuw, 1987) of the embeddings must gain a share of
    `GAIN`: so it does where classes are of very unequal size, and not where two of equal size are
    taken for one. `x` are unit rows about the mean of all.
    """
    before = _silhouette(x, labels, seed)
    if before is None:
        return None
    for share in SURPLUS:
        pieces = k + round(share * k)
        if not k < pieces < len(x):
            continue
        centroids = breathing_kmeans(points, pieces, seed)
        if len(centroids) <= k:
            continue
        found = nearest(points, centroids)
        group, least = join(x, found, k)
        after = _silhouette(x, group[found], seed)
        is_better = after is not None and after >= before + GAIN * abs(before)
        if least >= LEAST_OVERLAP and is_better:
            return centroids, group
    return None


def _silhouette(x: ndarray, labels: ndarray, seed: int) -> float | None:
    """Of at most `MEASURED` rows; None where these are one cluster, or each one of its own."""
    rows = choose_rows(len(x), MEASURED, seed)
    if not 1 < len(np.unique(labels[rows])) < len(rows):
        return None
    return float(silhouette_score(x[rows], labels[rows]))


def _sums(x: ndarray, labels: ndarray, k: int) -> tuple[ndarray, ndarray]:
    sums = np.zeros((k, x.shape[1]))
    np.add.at(sums, labels, x)
    return sums, np.bincount(labels, minlength=k)
