"""The geometry of sampled rows in a space, read from the store block by block."""

from collections.abc import Iterator

import numpy as np

from ...stages.rows.artifact_rows import blocks_of
from ...store import Artifact
from ..view.spectra import absolute_cosines, contrast, second_moment, singular_values
from .contents import Sample, Space

_AT_ONCE = 8192
"""Rows of one matrix product: with few, adding up would take longer than multiplying."""


def read_sample(
    artifact: Artifact, role: str, sample: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Block by block, the numbers and float16 values of sampled rows, given in ascending order.

    Skips blocks without any, and holds one block at a time.
    """
    width, blocks = blocks_of(artifact, role)
    for block in blocks:
        rows = _between(sample, block.start, block.start + block.rows)
        if len(rows):
            values = np.empty((block.rows, width), np.float16)
            block.read(values)
            yield rows, values[rows - block.start]


def measure_space(artifact: Artifact, role: str, sample: Sample) -> Space:
    """The geometry of the sampled rows in a space, in one pass over it."""
    kept = np.sort(np.concatenate(list(sample.of_cluster.values())))
    kept_blocks, moment = [], _Moment()
    for rows, values in read_sample(artifact, role, np.union1d(sample.overall, kept)):
        first, last = int(rows[0]), int(rows[-1]) + 1
        moment.add(values[np.searchsorted(rows, _between(sample.overall, first, last))])
        kept_blocks.append(values[np.searchsorted(rows, _between(kept, first, last))])
    z = np.concatenate(kept_blocks)
    of_cluster = [z[np.searchsorted(kept, rows)] for rows in sample.of_cluster.values()]
    counts = list(sample.heat_map_rows.values())
    cosines = absolute_cosines(
        np.concatenate([x[:count] for x, count in zip(of_cluster, counts, strict=True)])
    )
    within, between = contrast(cosines, counts)
    return Space(
        size=z.shape[1],
        overall=singular_values(moment.total(), len(sample.overall)),
        of_cluster=[singular_values(second_moment(x), len(x)) for x in of_cluster],
        cosines=cosines,
        within=within,
        between=between,
    )


def _between(ascending: np.ndarray, first: int, end: int) -> np.ndarray:
    return ascending[slice(*np.searchsorted(ascending, [first, end]))]


class _Moment:
    """X^T X of rows that come a few at a time."""

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] = []
        self._sum: np.ndarray | float = 0.0

    def add(self, rows: np.ndarray) -> None:
        """Takes rows (n, d)."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _AT_ONCE:
            self.total()

    def total(self) -> np.ndarray:
        """X^T X (d, d) of all rows so far."""
        moment = self._sum + second_moment(np.concatenate(self._waiting))
        self._sum, self._waiting = moment, [self._waiting[0][:0]]
        return moment
