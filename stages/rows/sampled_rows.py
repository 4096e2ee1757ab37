"""Rows of a sample, by their numbers over all parts: only parts that hold some of them are read."""

from collections.abc import Iterator, Sequence

import numpy as np

from ...store import Artifact
from .artifact_rows import EMBEDDING
from .part_rows import ArrayRows, TableRows, fill_rows, is_read_whole

Picks = Sequence[tuple[str, np.ndarray]]
"""Parts, each with the ascending numbers of some of its rows, counted within the part."""


def gather_rows(artifact: Artifact, role: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Some rows of an artifact, float16, by their ascending row numbers over all parts."""
    return gather_picks(artifact, role, list(split_by_part(artifact, rows)))


def split_by_part(
    artifact: Artifact, rows: Sequence[int] | np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """The parts that hold some of the rows, which are given by ascending numbers over all parts."""
    numbers = np.asarray(rows, np.int64)
    for part in artifact.parts:
        start = artifact.starts[part.name]
        first, end = np.searchsorted(numbers, [start, start + part.rows])
        if first < end:
            yield part.name, numbers[first:end] - start


def gather_picks(artifact: Artifact, role: str, picks: Picks) -> np.ndarray:
    """The picked rows of each part, one part after the other."""
    ends = np.cumsum([0, *(len(rows) for _, rows in picks)])
    out = np.empty((ends[-1], width_of(artifact, role)), np.float16)
    for (name, rows), first, end in zip(picks, ends[:-1], ends[1:], strict=True):
        is_whole = is_read_whole(len(rows), artifact.part_names[name].rows)
        file = "rows" if role == EMBEDDING else role
        path = artifact.path(name, file, is_read_whole=is_whole)
        part = TableRows(path) if role == EMBEDDING else ArrayRows(path)
        fill_rows(part, rows, out, np.arange(first, end))
    return out


def width_of(artifact: Artifact, role: str) -> int:
    """The numbers in each row of a role."""
    return artifact.width("rows" if role == EMBEDDING else role)
