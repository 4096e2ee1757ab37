"""Farthest-point sampling: few rows that leave no row far from all of them.

Each step takes the row that is farthest from those taken before (Gonzalez, 1985). The largest
distance of any row to its nearest taken row is at most twice the least that is possible.
"""

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray


def farthest_rows(
    rows: Float32[ndarray, "n d"],
    count: int,
    *,
    taken: Float32[ndarray, "t d"] | None = None,
    seed: int = 0,
) -> Int64[ndarray, " m"]:
    """Row numbers in the order in which they were taken; all rows if `count` is n or more.

    Rows have unit length, and distance is 1 minus the cosine. `taken` rows count as taken already;
    without any, the first is drawn at random. Of equally far rows the first is taken. Time is
    count * n * d.
    """
    n = len(rows)
    count = min(count, n)
    nearest = np.full(n, np.inf, np.float32)
    for row in taken if taken is not None else ():
        np.minimum(nearest, 1 - rows @ row, out=nearest)
    chosen = np.empty(count, np.int64)
    for step in range(count):
        is_first = step == 0 and not np.isfinite(nearest).any()
        row = int(np.random.default_rng(seed).integers(n)) if is_first else int(nearest.argmax())
        chosen[step] = row
        np.minimum(nearest, 1 - rows @ rows[row], out=nearest)
        nearest[row] = -np.inf  # never taken again, also among equal rows
    return chosen
