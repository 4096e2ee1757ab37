"""What other rules without labels take for the number of clusters, each over the same grid of k."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy import ndarray
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import silhouette_score
from sklearn.neighbors import kneighbors_graph

from cpp_pipe.stages.algorithms.clustering.sampling import choose_rows
from cpp_pipe.stages.algorithms.clustering.spectral import leading_eigenpairs

RESTARTS = 3
"""Starts of each k-means that is scored."""
SAMPLE = 2000
"""Rows of which silhouettes and gaps are taken."""
REFERENCES = 5
"""Uniform sets that a gap is measured against."""
NEIGHBOURS = 10


def equal_ratios(most: int, count: int = 45) -> list[int]:
    """At most so many whole k from 2 to `most`, in equal ratios."""
    return np.unique(np.geomspace(2, most, count).round().astype(int)).tolist()


def number_of_clusters(x: ndarray, grid: Sequence[int], seed: int) -> dict[str, int]:
    """The k of each rule for unit rows (n, d) about their mean."""
    fits = [KMeans(k, n_init=RESTARTS, random_state=seed).fit(x) for k in grid]
    rows = choose_rows(len(x), SAMPLE, seed)
    return {
        "silhouette": silhouette(x, fits, rows),
        "gap statistic": gap(x[rows], grid, seed),
        "eigengap": eigengap(x, grid[-1], seed),
        "BIC of k-means": bic(x, fits),
        "HDBSCAN": hdbscan(x),
    }


def silhouette(x: ndarray, fits: Sequence[KMeans], rows: ndarray) -> int:
    """The k whose mean silhouette over some rows is the highest (Rousseeuw, 1987)."""
    found = [silhouette_score(x[rows], fit.labels_[rows]) for fit in fits]
    return fits[int(np.argmax(found))].n_clusters


def gap(x: ndarray, grid: Sequence[int], seed: int) -> int:
    """The least k whose gap is that of the next k but for its error (Tibshirani et al., 2001).

    References are uniform over the box along principal axes. The grid's last k where none is.
    """
    centred = x - x.mean(0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    generator = np.random.default_rng(seed)
    low, high = along.min(0), along.max(0)
    boxes = [generator.uniform(low, high, along.shape).astype(x.dtype) for _ in range(REFERENCES)]

    def logs(rows: ndarray) -> list[float]:
        return [np.log(KMeans(k, n_init=1, random_state=seed).fit(rows).inertia_) for k in grid]

    reference = np.array([logs(box) for box in boxes])
    gaps = reference.mean(0) - logs(x)
    errors = reference.std(0) * np.sqrt(1 + 1 / REFERENCES)
    for one, following in pairwise(range(len(grid))):
        if gaps[one] >= gaps[following] - errors[following]:
            return grid[one]
    return grid[-1]


def eigengap(x: ndarray, most: int, seed: int) -> int:
    """The k from 2 on with the widest gap after it in the spectrum of a neighbour graph.

    The graph joins each row with its ten nearest, unweighted; its Laplacian is the normalised one.
    """
    near = kneighbors_graph(x, NEIGHBOURS)
    values, _ = leading_eigenpairs(near.maximum(near.T).tocsr(), most + 1, seed)
    return int(np.argmax(values[1:-1] - values[2:])) + 2


def bic(x: ndarray, fits: Sequence[KMeans]) -> int:
    """The k with the highest BIC for spherical Gaussians of one variance, as in X-means.

    (Pelleg and Moore, 2000.) Their variance is a row's; the likelihood takes that of a coordinate,
    as it is since corrected.
    """
    n, d = x.shape
    found = []
    for fit in fits:
        k, counts = fit.n_clusters, np.bincount(fit.labels_, minlength=fit.n_clusters)
        held = counts[counts > 0]
        variance = fit.inertia_ / (d * max(1, n - k))
        likelihood = (held * np.log(held / n)).sum() - d / 2 * (n * np.log(2 * np.pi * variance))
        found.append(likelihood - d * (n - k) / 2 - (k * (d + 1)) / 2 * np.log(n))
    return fits[int(np.argmax(found))].n_clusters


def hdbscan(x: ndarray) -> int:
    """How many clusters HDBSCAN finds by scikit-learn's defaults; 0 where all is noise."""
    return int(HDBSCAN(copy=True).fit_predict(x).max()) + 1
