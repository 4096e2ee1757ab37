"""Clusters of all rows for one number of clusters, and the order in which they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Column:
    """The cluster and the confidence of every row, and rows by cluster, the surest first."""

    cluster: "np.ndarray"
    """(n,) int32."""
    confidence: "np.ndarray"
    """(n,) float32, 0 to 1."""
    order: "np.ndarray"
    """(n,) int32: rows by cluster, then by falling confidence, then by number."""
    starts: "np.ndarray"
    """(k + 1,) int64: where each cluster begins in the order."""

    @classmethod
    def of(cls, cluster: "np.ndarray", confidence: "np.ndarray", k: int) -> Self:
        """Sorts the rows of k clusters, some of which may be empty."""
        import numpy as np

        order = np.lexsort((-confidence, cluster)).astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(np.bincount(cluster, minlength=k))])
        return cls(
            np.ascontiguousarray(cluster, np.int32),
            np.ascontiguousarray(confidence, np.float32),
            order,
            starts.astype(np.int64),
        )

    def mapped(self, folder: Path) -> Self:
        """The same, written into a folder that is made, and mapped: it takes memory where it is
        read."""
        import numpy as np

        folder.mkdir()
        arrays = (self.cluster, self.confidence, self.order)
        for number, array in enumerate(arrays):
            np.save(folder / f"{number}.npy", array)
        # Plain arrays over the maps: each look at a memmap makes an object of its own.
        cluster, confidence, order = (
            np.load(folder / f"{number}.npy", mmap_mode="r").view(np.ndarray)
            for number in range(len(arrays))
        )
        return type(self)(cluster, confidence, order, self.starts)

    @property
    def k(self) -> int:
        """How many clusters there are, empty ones too."""
        return len(self.starts) - 1

    @property
    def sizes(self) -> "np.ndarray":
        """(k,) rows of each cluster."""
        import numpy as np

        return np.diff(self.starts)

    def rows(self, clusters: Sequence[int]) -> "np.ndarray":
        """The rows of some clusters together, the surest first."""
        import numpy as np

        pieces = [self.order[self.starts[one] : self.starts[one + 1]] for one in clusters]
        if len(pieces) == 1:
            return pieces[0]
        rows = np.concatenate([np.empty(0, np.int32), *pieces])
        return rows[np.lexsort((rows, -self.confidence[rows]))]

    def ends(self, clusters: Sequence[int], most: int) -> "tuple[np.ndarray, np.ndarray]":
        """The surest and the most doubtful rows of some clusters together, `most` of each.

        A row that is among the surest is not among the doubtful. Looks at few rows of each cluster.
        """
        import numpy as np

        first, last = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        for one in clusters:
            piece = self.order[self.starts[one] : self.starts[one + 1]]
            first.append(piece[:most])
            last.append(piece[-most:])
        sure, doubtful = np.concatenate(first), np.concatenate(last)
        sure = sure[np.lexsort((sure, -self.confidence[sure]))][:most]
        doubtful = doubtful[np.lexsort((doubtful, self.confidence[doubtful]))]
        doubtful = doubtful[~np.isin(doubtful, sure)][:most]
        return sure, doubtful

    def sums(self, values: "np.ndarray") -> "np.ndarray":
        """(k,) float64: values (n,) added up within each cluster."""
        import numpy as np

        return np.bincount(self.cluster, weights=values, minlength=self.k)


def overlaps(of: "np.ndarray", with_: "np.ndarray", k: int, other_k: int) -> "np.ndarray":
    """(k, other_k) int64: how many rows lie in each pair of a cluster and another's cluster."""
    import numpy as np

    pairs = of.astype(np.int64) * other_k + with_
    return np.bincount(pairs, minlength=k * other_k).reshape(k, other_k)
