"""Numbers for new clusters that match the old clusters of the same rows."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment


def count_overlaps(
    new: Int[ndarray, " m"], old: Int[ndarray, " m"], k: int
) -> Int[ndarray, "k k_old"]:
    """The rows that each new cluster shares with each old one; old −1 stands for no cluster.

    Columns end with the largest old number.
    """
    had_cluster = old >= 0
    counts = np.zeros((k, int(old.max(initial=-1)) + 1), np.int64)
    np.add.at(counts, (new[had_cluster], old[had_cluster]), 1)
    return counts


def match_numbers(overlaps: Int[ndarray, "k k_old"]) -> Int[ndarray, " k"]:
    """A number for each new cluster, such that as many rows as possible keep their old number.

    Numbers are from 0 to k − 1. A cluster that shares no row with an old cluster in this range gets
    the next free number. The assignment is exact (Kuhn's), so no other numbering keeps more rows.
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
