"""Sampled rows out of the store: the second moment of most, and the few that are kept whole."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...stages.artifact_rows import blocks_of
from ...store import Artifact
from .contents import Sample, Space
from .spectra import absolute_cosines, contrast, second_moment, singular_values

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 8192
"""Rows of one matrix product: few at a time would take longer to add up than to multiply."""


def wanted_rows(
    artifact: Artifact, role: str, wanted: "np.ndarray"
) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Block by block the numbers and float16 values of wanted rows, given in ascending order.

    Blocks without any are not read, and never more than one of them is held.
    """
    import numpy as np

    width, blocks = blocks_of(artifact, role)
    for block in blocks:
        rows = _between(wanted, block.start, block.start + block.rows)
        if len(rows):
            values = np.empty((block.rows, width), np.float16)
            block.read(values)
            yield rows, values[rows - block.start]


def measure(artifact: Artifact, role: str, sample: Sample) -> Space:
    """How the sampled rows lie in a space, in one pass over it."""
    import numpy as np

    kept = np.sort(np.concatenate(list(sample.of_cluster.values())))
    whole, moment = [], _Moment()
    for rows, values in wanted_rows(artifact, role, np.union1d(sample.overall, kept)):
        first, last = int(rows[0]), int(rows[-1]) + 1
        moment.add(values[np.searchsorted(rows, _between(sample.overall, first, last))])
        whole.append(values[np.searchsorted(rows, _between(kept, first, last))])
    z = np.concatenate(whole)
    of_cluster = [z[np.searchsorted(kept, rows)] for rows in sample.of_cluster.values()]
    pictured = [
        some[:count] for some, count in zip(of_cluster, sample.pictured.values(), strict=True)
    ]
    cosines = absolute_cosines(np.concatenate(pictured))
    within, between = contrast(cosines, list(sample.pictured.values()))
    return Space(
        size=z.shape[1],
        overall=singular_values(moment.total(), len(sample.overall)),
        of_cluster=[singular_values(second_moment(some), len(some)) for some in of_cluster],
        cosines=cosines,
        within=within,
        between=between,
    )


def _between(ascending: "np.ndarray", first: int, end: int) -> "np.ndarray":
    import numpy as np

    return ascending[slice(*np.searchsorted(ascending, [first, end]))]


class _Moment:
    """X^T X of rows that come a few at a time."""

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] = []
        self._sum: Any = 0.0

    def add(self, rows: "np.ndarray") -> None:
        """Takes some rows (n, d)."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _AT_ONCE:
            self.total()

    def total(self) -> "np.ndarray":
        """X^T X (d, d) of all rows so far."""
        import numpy as np

        self._sum = self._sum + second_moment(np.concatenate(self._waiting))
        self._waiting = [self._waiting[0][:0]]
        return self._sum
