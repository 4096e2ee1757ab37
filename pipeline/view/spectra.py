"""The geometry of rows in their space: singular values and cosines."""

from collections.abc import Sequence

import numpy as np


def second_moment(x: np.ndarray) -> np.ndarray:
    """X^T X (d, d) of rows (n, d), in float64: small values stay exact beside large ones."""
    wide = x.astype(np.float64)
    return wide.T @ wide


def singular_values(moment: np.ndarray, rows: int) -> np.ndarray:
    """Singular values of n rows over the largest, from X^T X: min(n, d) of them, descending.

    Rows are not centred. Values below 1e-7 are rounding.
    """
    squares = np.linalg.eigvalsh(moment)[::-1][: min(rows, len(moment))]
    values = np.sqrt(np.maximum(squares, 0))
    return values / values[0] if values[0] > 0 else values


def contrast(cosines: np.ndarray, counts: Sequence[int]) -> tuple[float, float]:
    """Mean |cosine| of two rows of one cluster, and of rows of two clusters.

    Rows stand cluster by cluster; `counts` are the rows of each. nan if there are no such pairs.
    """
    cluster = np.repeat(np.arange(len(counts)), counts)
    is_same = cluster[:, None] == cluster
    is_pair = ~np.eye(len(cluster), dtype=bool)
    pairs = cosines[is_same & is_pair], cosines[~is_same]
    within, between = (float(values.mean()) if values.size else float("nan") for values in pairs)
    return within, between


def absolute_cosines(x: np.ndarray) -> np.ndarray:
    """|cosine| (n, n) between rows (n, d)."""
    wide = x.astype(np.float32)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return np.abs(unit @ unit.T)
