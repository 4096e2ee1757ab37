"""How far clusters are the same when they are found on one half of the rows and on the other.

A criterion without labels (after Lange et al., 2004): clusters that the rows suggest are found
twice, clusters that chance suggests are not. It decides when training stops, and at which
temperature. Rows that collapse into few places are found again too, so what counts is the product
with how evenly the clusters are used.
"""

import warnings

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from scipy.special import entr
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

ITERATIONS = 30
"""Of Lloyd's algorithm."""


def stability(rows: Float32[ndarray, "m p"], seed: int, *, splits: int = 2) -> float:
    """Agreement of two labellings of all rows times their evenness, mean over random splits.

    Each labelling is by the centroids of k-means on one half, with √m clusters. Agreement is their
    adjusted Rand index, evenness exp(entropy of the clusters' sizes) over √m. About 0 where
    clusters are chance or few, 1 where they are found again exactly and are of one size; 0 for
    fewer than 8 rows, which have no halves.
    """
    m = len(rows)
    if m < 8:
        return 0.0
    count = max(2, round(m**0.5))
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(splits):
        order = generator.permutation(m)
        labels = []
        for half in (order[: m // 2], order[m // 2 :]):
            state = int(generator.integers(2**31))
            model = KMeans(min(count, len(half)), n_init=1, max_iter=ITERATIONS, random_state=state)
            with warnings.catch_warnings():
                # Rows may be equal, and stopping early is meant.
                warnings.simplefilter("ignore", ConvergenceWarning)
                labels.append(model.fit(rows[np.sort(half)]).predict(rows))
        even = np.mean([_effective_number(one) / count for one in labels])
        found.append(adjusted_rand_score(*labels) * even)
    return float(np.mean(found))


def _effective_number(labels: ndarray) -> float:
    share = np.bincount(labels) / len(labels)
    return float(np.exp(entr(share).sum()))
