"""The stability of clusters: how far clusters found on one half of the rows and on the other agree.

A criterion without labels (after Lange et al., 2004): real clusters are found twice, clusters due
to chance are not. It decides when training stops and which heads are kept. Collapsed rows are also
found twice, so the agreement is multiplied by how evenly the clusters are used.
"""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from scipy.special import entr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from .clustering.convergence import ignoring_convergence

ITERATIONS = 30
"""Iterations of Lloyd's algorithm, at most."""


def stability(rows: Float32[ndarray, "m p"], seed: int, *, splits: int = 2) -> float:
    """Agreement of two labellings of all rows times their evenness, averaged over random splits.

    Each labelling uses the centroids of k-means with √m clusters on one half. Agreement is the
    adjusted Rand index of the two, evenness is exp(entropy of the cluster sizes) over √m. About 0
    if clusters are due to chance or collapsed, 1 if they are found again exactly and have
    equal sizes; 0 for fewer than 8 rows, which cannot be halved.
    """
    m = len(rows)
    if m < 8:
        return 0.0
    count = max(2, round(m**0.5))
    generator = np.random.default_rng(seed)
    products = []
    for _ in range(splits):
        order = generator.permutation(m)
        labels = []
        for half in (order[: m // 2], order[m // 2 :]):
            state = int(generator.integers(2**31))
            model = KMeans(min(count, len(half)), n_init=1, max_iter=ITERATIONS, random_state=state)
            with ignoring_convergence():
                # Rows may be equal, and stopping early is intended.
                labels.append(model.fit(rows[np.sort(half)]).predict(rows))
        evenness = np.mean([_effective_number(half) / count for half in labels])
        products.append(adjusted_rand_score(*labels) * evenness)
    return float(np.mean(products))


def _effective_number(labels: ndarray) -> float:
    """exp of the entropy of the cluster sizes."""
    share = np.bincount(labels) / len(labels)
    return float(np.exp(entr(share).sum()))
