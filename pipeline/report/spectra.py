"""How rows lie in their space: singular values and cosines, arrays in, arrays out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def second_moment(x: "np.ndarray") -> "np.ndarray":
    """X^T X (d, d) of rows (n, d), in float64: what is small beside the largest stays right."""
    import numpy as np

    wide = x.astype(np.float64)
    return wide.T @ wide


def singular_values(moment: "np.ndarray", rows: int) -> "np.ndarray":
    """The singular values of n rows over the largest, from X^T X: min(n, d) of them, descending.

    As they are, nothing is subtracted. Those below 1e-7 of the largest are rounding.
    """
    import numpy as np

    squares = np.linalg.eigvalsh(moment)[::-1][: min(rows, len(moment))]
    values = np.sqrt(np.maximum(squares, 0))
    return values / values[0]


def contrast(cosines: "np.ndarray", counts: Sequence[int]) -> tuple[float, float]:
    """Mean |cosine| of two rows of one cluster, and of rows of two clusters.

    `counts` are the rows of each cluster, which stand one after another. nan without such pairs.
    """
    import numpy as np

    cluster = np.repeat(np.arange(len(counts)), counts)
    is_same = cluster[:, None] == cluster
    is_pair = ~np.eye(len(cluster), dtype=bool)
    pairs = cosines[is_same & is_pair], cosines[~is_same]
    within, between = (float(some.mean()) if some.size else float("nan") for some in pairs)
    return within, between


def absolute_cosines(x: "np.ndarray") -> "np.ndarray":
    """|cosine| (n, n) between rows (n, d)."""
    import numpy as np

    wide = x.astype(np.float32)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return np.abs(unit @ unit.T)
