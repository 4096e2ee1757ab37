"""Other rules without labels for the number of clusters, all over the same grid of k."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy import ndarray
from scipy.sparse import csr_array
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import silhouette_score
from sklearn.neighbors import kneighbors_graph

from cpp_pipe.stages.algorithms.clustering.sampling import choose_rows
from cpp_pipe.stages.algorithms.clustering.spectral import leading_eigenpairs

RESTARTS = 3
"""Starts of each k-means."""
SAMPLE = 2000
"""Rows for silhouettes and gaps."""
REFERENCES = 5
"""Uniform reference sets of the gap statistic."""
NEIGHBOURS = 10


def equal_ratios(most: int, count: int = 45) -> list[int]:
    """At most `count` integers from 2 to `most`, in geometric progression."""
    return np.unique(np.geomspace(2, most, count).round().astype(int)).tolist()


def number_of_clusters(x: ndarray, grid: Sequence[int], seed: int) -> dict[str, int]:
    """The k of each rule, for centred unit rows (n, d)."""
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
    """The k with the highest mean silhouette over a sample of rows (Rousseeuw, 1987)."""
    scores = [silhouette_score(x[rows], fit.labels_[rows]) for fit in fits]
    return fits[int(np.argmax(scores))].n_clusters


def gap(x: ndarray, grid: Sequence[int], seed: int) -> int:
    """The smallest k whose gap is within one error of the next k's (Tibshirani et al., 2001).

    References are uniform over the bounding box along the principal axes. Without such a k, the
    largest of the grid.
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
    for index, following in pairwise(range(len(grid))):
        if gaps[index] >= gaps[following] - errors[following]:
            return grid[index]
    return grid[-1]


def eigengap(x: ndarray, most: int, seed: int) -> int:
    """The k ≥ 2 before the largest gap in the spectrum of a neighbour graph.

    The graph links each row with its ten nearest, unweighted; its Laplacian is normalised.
    """
    near = kneighbors_graph(x, NEIGHBOURS)
    values, _ = leading_eigenpairs(csr_array(near.maximum(near.T)), most + 1, seed)
    return int(np.argmax(values[1:-1] - values[2:])) + 2


def bic(x: ndarray, fits: Sequence[KMeans]) -> int:
    """The k with the highest BIC of spherical Gaussians with one variance, as in X-means.

    Pelleg and Moore (2000) estimate the variance of a whole row; the likelihood here takes that of
    a coordinate, a later correction.
    """
    n, d = x.shape
    scores = []
    for fit in fits:
        k, counts = fit.n_clusters, np.bincount(fit.labels_, minlength=fit.n_clusters)
        sizes = counts[counts > 0]
        variance = fit.inertia_ / (d * max(1, n - k))
        likelihood = (sizes * np.log(sizes / n)).sum() - d / 2 * (n * np.log(2 * np.pi * variance))
        scores.append(likelihood - d * (n - k) / 2 - (k * (d + 1)) / 2 * np.log(n))
    return fits[int(np.argmax(scores))].n_clusters


def hdbscan(x: ndarray) -> int:
    """The number of clusters of HDBSCAN with scikit-learn's defaults; 0 if all rows are noise."""
    return int(HDBSCAN(copy=True).fit_predict(x).max()) + 1
