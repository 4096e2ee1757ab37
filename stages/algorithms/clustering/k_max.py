"""How many eigenvectors are kept by default. Loads no library: versions depend on it too."""

import math

LEAST = 30
"""Least number of eigenvectors, even for few rows."""
ROWS_A_CLUSTER = 20
"""Average landmarks per cluster at k_max clusters; half as many if k_max is less than `FEW`."""
FEW = 100


def usual_k_max(rows: int, landmarks: int) -> int:
    """Default number of eigenvectors, for `rows` rows and at most `landmarks` landmarks.

    Enough for twice √rows clusters, as long as each then has some landmarks.
    """
    most = min(rows, landmarks)
    usual = min(2 * math.isqrt(rows), max(FEW, most // ROWS_A_CLUSTER), 2 * most // ROWS_A_CLUSTER)
    return min(max(LEAST, usual), most)
