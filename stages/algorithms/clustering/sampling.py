"""Samples of rows: uniform, or such that rare groups are represented.

Uniformly drawn landmarks miss a group of one row in ten thousand. So many more candidates are drawn
uniformly and put into coarse cells by k-means; each cell gives landmarks in proportion to the
square root of its number of candidates: a power allocation (Bankier, 1988) with power ½.
"""

import numpy as np
from jaxtyping import Float32, Int
from numpy import ndarray

CANDIDATES = 20
"""Candidates per landmark, at most."""
LANDMARKS_A_CELL = 16
"""Average landmarks per cell: cells must be few enough that each gives some."""
POWER = 0.5


def choose_rows(n: int, m: int, seed: int) -> Int[ndarray, " m"]:
    """`m` of `n` row numbers, sorted, drawn uniformly without replacement; all if n ≤ m."""
    if n <= m:
        return np.arange(n, dtype=np.int64)
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(n, size=m, replace=False, shuffle=False)).astype(np.int64)


def choose_landmarks(points: Float32[ndarray, "n q"], m: int, seed: int) -> Int[ndarray, " m"]:
    """Row numbers of `m` of the candidates, sorted, rare groups included; all if n ≤ m."""
    n = len(points)
    if n <= m:
        return np.arange(n, dtype=np.int64)
    # Here, as projecting a query's embedding imports this module, and needs no scikit-learn.
    from sklearn.cluster import MiniBatchKMeans

    generator = np.random.default_rng(seed)
    cells = max(2, m // LANDMARKS_A_CELL)
    state, batch = int(generator.integers(2**31)), max(1024, 4 * cells)
    model = MiniBatchKMeans(cells, n_init=1, batch_size=batch, random_state=state)
    cell = model.fit_predict(points)
    shares = allocate(np.bincount(cell, minlength=cells), m)
    chosen = [
        generator.choice(np.flatnonzero(cell == number), size=count, replace=False)
        for number, count in enumerate(shares)
        if count
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def allocate(counts: Int[ndarray, " cells"], m: int) -> Int[ndarray, " cells"]:
    """How many of `m` rows each cell gives: in proportion to the root of its count, at most all.

    The sum is `m`, or the sum of the counts if that is less.
    """
    m = min(m, int(counts.sum()))
    share, free = counts.astype(np.float64), counts > 0
    while free.any():
        root = counts[free] ** POWER
        share[free] = (m - counts[~free].sum()) * root / root.sum()
        used_up = free & (share >= counts)
        if not used_up.any():
            break
        # The other cells give what these cannot.
        share[used_up] = counts[used_up]
        free &= ~used_up
    allocated = np.floor(share).astype(np.int64)
    # Rounds the largest remainders up; another round of shares would favour large cells.
    order = np.argsort(allocated - share, kind="stable")
    allocated[order[allocated[order] < counts[order]][: m - int(allocated.sum())]] += 1
    return allocated
