"""The rows that are nearest to a few, in either space: by cosine with every row, in one pass."""

from typing import TYPE_CHECKING

from ...stages.indexing.rows import VectorRows
from ...store import Artifact

_AT_ONCE = 16_384
"""Rows that are compared at once."""

if TYPE_CHECKING:
    import numpy as np


def nearest(artifact: Artifact, rows: "np.ndarray", most: int) -> "np.ndarray":
    """(m, most) numbers of the rows nearest to each of m rows, the nearest first, itself left out.

    `artifact` are embeddings or features. Of equal cosines the lower number comes first. Fewer
    columns where there are fewer rows. Few rows are held at a time.
    """
    import numpy as np

    vectors = VectorRows(artifact)
    queries = _unit(vectors.take(rows))
    most = min(most, artifact.rows - 1)
    cosines = np.empty((len(rows), 0), np.float32)
    numbers = np.empty((len(rows), 0), np.int64)
    for part in artifact.parts:
        for first in range(0, part.rows, _AT_ONCE):
            block = vectors.read(part.name, first, min(_AT_ONCE, part.rows - first))
            own = artifact.starts[part.name] + first + np.arange(len(block))
            new = np.where(own == rows[:, None], -np.inf, queries @ _unit(block).T)
            cosines = np.concatenate([cosines, new], axis=1)
            numbers = np.concatenate([numbers, np.broadcast_to(own, new.shape)], axis=1)
            best = np.argsort(-cosines, axis=1, kind="stable")[:, :most]
            cosines = np.take_along_axis(cosines, best, 1)
            numbers = np.take_along_axis(numbers, best, 1)
    return numbers


def _unit(rows: "np.ndarray") -> "np.ndarray":
    import numpy as np

    rows = rows.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
