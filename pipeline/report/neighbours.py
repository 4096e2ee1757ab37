"""The rows that are nearest to a few, in either space, as `search` finds them among all."""

from typing import TYPE_CHECKING

from ...store import Artifact
from ..view.searcher import Searcher

if TYPE_CHECKING:
    import numpy as np


def nearest(artifact: Artifact, rows: "np.ndarray", most: int) -> "np.ndarray":
    """(m, most) numbers of the rows nearest to each of m rows, the nearest first, itself left out.

    `artifact` are embeddings or features; each row is compared with all. Of equal similarities the
    lower number comes first. Fewer columns where there are fewer rows.
    """
    import numpy as np

    searcher, most = Searcher(artifact), min(most, artifact.rows - 1)
    found = searcher.nearest_to_each(searcher.rows.take(rows), most + 1)[1]
    # A row that has many copies is not always among the nearest to itself.
    return np.stack([near[near != row][:most] for near, row in zip(found, rows, strict=True)])
