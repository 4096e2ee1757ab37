"""Rows of all parts in one array."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..store import Artifact

if TYPE_CHECKING:
    import numpy as np

EMBEDDING = "embedding"
"""Names the vectors of an embeddings artifact where an array of features would be named."""


def iterate(artifact: Artifact, role: str = EMBEDDING):
    """Part by part, in row order: the part's name and its float16 rows."""
    for part in artifact.parts:
        rows = artifact.embeddings(part.name) if role == EMBEDDING else None
        yield part.name, artifact.array(part.name, role) if rows is None else rows


def gather(artifact: Artifact, role: str = EMBEDDING) -> "np.ndarray":
    """All rows of an artifact: float16 (N, d) embeddings, or an array of its features."""
    import numpy as np

    blocks = [rows for _, rows in iterate(artifact, role)]
    width = max((rows.shape[1] for rows in blocks), default=0)
    gathered = np.empty((artifact.rows, width), np.float16)
    start = 0
    for rows in blocks:
        gathered[start : start + len(rows)] = rows
        start += len(rows)
    return gathered


def gather_rows(artifact: Artifact, role: str, rows: "Sequence[int] | np.ndarray") -> "np.ndarray":
    """Some rows of an artifact, by their ascending numbers over all parts."""
    import numpy as np

    wanted = np.asarray(rows, np.int64)
    blocks = []
    for name, block in iterate(artifact, role):
        start = artifact.starts[name]
        inside = wanted[(wanted >= start) & (wanted < start + len(block))] - start
        blocks.append(np.asarray(block[inside]))
    return np.concatenate(blocks)
