"""Pieces of clusters: found by the overlap of their embeddings, and joined.

k-means, and spectral clustering based on it, cut a large group into pieces of other groups' size.
"""

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from sklearn.metrics import silhouette_score

from .kmeans import breathing_kmeans, nearest
from .sampling import choose_rows

LEAST_OVERLAP = 0.77
"""Clusters with less overlap are never joined."""
GAIN = 0.1
"""Share by which joining must raise the silhouette. In sets with very unequal classes it rose by
0.08 to 0.37, in others by less than 0.1 in nearly all of 54 trials (docs/what-we-learned.md)."""
SURPLUS = (0.2, 0.1)
"""Shares of k by which the number of pieces exceeds k, in the order of trial."""
MEASURED = 2000
"""Rows whose silhouette is measured, at most."""
LEAST_WITHIN = 1e-3
"""Lower bound of the mean cosine within a cluster, which avoids a division by zero."""


def overlap(sums: Float[ndarray, "k d"], counts: Int[ndarray, " k"]) -> Float[ndarray, "k k"]:
    """Mean cosine between two clusters' unit rows over the geometric mean of those within each.

    Computed from the sum of each cluster's rows. A row's cosine with itself is left out, so pieces
    of one group have an overlap of 1 on average, whatever their sizes. Within a cluster of one row
    the mean cosine counts as 1. −1 on the diagonal.
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
    """Repeatedly joins the two clusters with the largest overlap until `k` are left.

    Returns the new number of each cluster, and the least overlap of two joined clusters.
    """
    sums, counts = _sums(x, labels, int(labels.max()) + 1)
    group = np.arange(len(counts))
    remaining = np.arange(len(counts))
    least = 1.0
    while len(remaining) > k:
        overlaps = overlap(sums[remaining], counts[remaining])
        i, j = np.unravel_index(overlaps.argmax(), overlaps.shape)
        least = min(least, float(overlaps[i, j]))
        kept, gone = remaining[min(i, j)], remaining[max(i, j)]
        sums[kept] += sums[gone]
        counts[kept] += counts[gone]
        group[group == gone] = kept
        remaining = remaining[remaining != gone]
    return np.searchsorted(remaining, group), least


def join_pieces(
    x: Float32[ndarray, "m d"],
    points: Float32[ndarray, "m q"],
    labels: Int[ndarray, " m"],
    k: int,
    seed: int,
) -> tuple[Float32[ndarray, "more q"], Int[ndarray, " more"]] | None:
    """Centroids of pieces and the cluster of each; None where joining pieces does not help.

    `labels` are the k clusters of the points without joining. Joined pieces must overlap by
    `LEAST_OVERLAP`, and the silhouette (Rousseeuw, 1987) of the embeddings must rise by a share of
    `GAIN`: it does where classes have very unequal sizes, and does not where two classes of equal
    size would be joined. `x` are unit rows minus the mean of all, normalised again.
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
        piece = nearest(points, centroids)
        group, least = join(x, piece, k)
        after = _silhouette(x, group[piece], seed)
        is_better = after is not None and after >= before + GAIN * abs(before)
        if least >= LEAST_OVERLAP and is_better:
            return centroids, group
    return None


def _silhouette(x: ndarray, labels: ndarray, seed: int) -> float | None:
    """Silhouette of at most `MEASURED` rows; None if they have one label, or all different ones."""
    rows = choose_rows(len(x), MEASURED, seed)
    if not 1 < len(np.unique(labels[rows])) < len(rows):
        return None
    return float(silhouette_score(x[rows], labels[rows]))


def _sums(x: ndarray, labels: ndarray, k: int) -> tuple[ndarray, ndarray]:
    sums = np.zeros((k, x.shape[1]))
    np.add.at(sums, labels, x)
    return sums, np.bincount(labels, minlength=k)
