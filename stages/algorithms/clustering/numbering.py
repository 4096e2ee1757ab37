"""Numbers of clusters that follow older clusters of the same rows."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment


def count_overlaps(
    new: Int[ndarray, " m"], old: Int[ndarray, " m"], k: int
) -> Int[ndarray, "k k_old"]:
    """Rows that each of the k new clusters shares with each old one; old −1 stands for no cluster.

    Columns end with the largest old number.
    """
    known = old >= 0
    counts = np.zeros((k, int(old.max(initial=-1)) + 1), np.int64)
    np.add.at(counts, (new[known], old[known]), 1)
    return counts


def follow(overlaps: Int[ndarray, "k k_old"]) -> Int[ndarray, " k"]:
    """The number of each new cluster, for which the most rows keep their number.

    Numbers are from 0 to k − 1. A new cluster without rows in common with the old cluster of its
    number takes the next number that is free. Kuhn's assignment is exact, so no other numbering
    keeps more rows.
    """
    k = len(overlaps)
    allowed = overlaps[:, :k]
    order = np.full(k, -1)
    clusters, numbers = linear_sum_assignment(allowed, maximize=True)
    for cluster, number in zip(clusters.tolist(), numbers.tolist(), strict=True):
        if allowed[cluster, number]:
            order[cluster] = number
    order[order < 0] = np.setdiff1d(np.arange(k), order)
    return order
