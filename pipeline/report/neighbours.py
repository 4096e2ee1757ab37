"""The rows nearest to a few rows, as `search` finds them."""

import numpy as np

from ...store import Artifact
from ..view.searcher import Searcher


def find_nearest(
    artifact: Artifact, rows: np.ndarray, most: int, kept: np.ndarray | None = None
) -> np.ndarray:
    """The row numbers (m, most) nearest to each of m rows, nearest first, the row itself left out.

    Each row is compared with all rows of the embeddings or features, or with those that are `kept`,
    a bool for each row, which must include the m rows. Of equal similarities the
    lower number comes first. There are fewer columns if there are fewer rows.
    """
    count = artifact.rows if kept is None else int(kept.sum())
    searcher, most = Searcher(artifact), min(most, count - 1)
    _, nearest = searcher.nearest_to_each(searcher.rows.take(rows), most + 1, allowed=kept)
    # A row with many copies is not always among the nearest to itself.
    return np.stack([near[near != row][:most] for near, row in zip(nearest, rows, strict=True)])
