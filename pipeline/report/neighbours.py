"""The rows that are nearest to a few, in either space: by cosine with every row, in one pass."""

from typing import TYPE_CHECKING

from ...stages.gather import blocks_of
from ...store import Artifact
from .rows import wanted_rows

if TYPE_CHECKING:
    import numpy as np


def nearest(artifact: Artifact, role: str, rows: "np.ndarray", most: int) -> "np.ndarray":
    """(m, most) numbers of the rows nearest to each of m rows, the nearest first, itself left out.

    Of equal cosines the lower number comes first. Fewer columns where there are fewer rows. Never
    more than one block of rows is held.
    """
    import numpy as np

    width, blocks = blocks_of(artifact, role)
    queries = np.empty((len(rows), width), np.float32)
    ascending, place = np.unique(rows, return_inverse=True)
    for found, values in wanted_rows(artifact, role, ascending):
        is_found = np.isin(rows, found)
        queries[is_found] = values[np.searchsorted(found, ascending[place[is_found]])]
    queries = _unit(queries)
    most = min(most, artifact.rows - 1)
    cosines = np.empty((len(rows), 0), np.float32)
    numbers = np.empty((len(rows), 0), np.int64)
    for block in blocks:
        values = np.empty((block.rows, width), np.float16)
        block.read(values)
        own = np.arange(block.start, block.start + block.rows)
        new = np.where(own == rows[:, None], -np.inf, queries @ _unit(values).T)
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
