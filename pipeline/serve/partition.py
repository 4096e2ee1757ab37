"""A partition of all rows into clusters, with the order in which rows are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from ...store.files import write_array
from ...store.residency import map_array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_MOST_CELLS = 2**22
"""Cells of counts that are held however few they count: 32 MB."""


@dataclass(frozen=True)
class Partition:
    """The cluster and the confidence of every row, and the rows sorted by both."""

    cluster: np.ndarray
    """(n,) int32; k for a row that is in none."""
    confidence: np.ndarray
    """(n,) float32, 0 to 1."""
    order: np.ndarray
    """(n,) int32: rows by cluster, then by falling confidence, then by number."""
    starts: np.ndarray
    """(k + 1,) int64: where each cluster begins in `order`, and where the last one ends."""

    @classmethod
    def of(cls, cluster: np.ndarray, confidence: np.ndarray, k: int) -> Self:
        """Sorts the rows of k clusters, some of which may be empty."""
        order = _group(_by_falling(confidence), cluster, k)
        return cls._of_sorted(cluster, confidence, order, k)

    def regrouped(self, cluster: np.ndarray, k: int) -> Self:
        """The same rows in other clusters; those of number k are in none."""
        order = _group(self._by_confidence, cluster, k)
        return self._of_sorted(cluster, self.confidence, order, k)

    @classmethod
    def _of_sorted(
        cls, cluster: np.ndarray, confidence: np.ndarray, order: np.ndarray, k: int
    ) -> Self:
        sizes = np.bincount(cluster, minlength=k)[:k]
        return cls(
            np.ascontiguousarray(cluster, np.int32),
            np.ascontiguousarray(confidence, np.float32),
            order,
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        )

    @cached_property
    def _by_confidence(self) -> np.ndarray:
        """(n,) int32: all rows by falling confidence, then by number."""
        return _by_falling(self.confidence)

    def mapped(self, folder: Path) -> Self:
        """The same partition, written into a folder and memory-mapped from there."""
        folder.mkdir(parents=True, exist_ok=True)  # there if an earlier try met a full disk
        arrays = (self.cluster, self.confidence, self.order)
        for number, array in enumerate(arrays):
            write_array(folder / f"{number}.npy", array)
        # Plain arrays over the maps: every slice of a memmap is a costly object of its own.
        cluster, confidence, order = (
            map_array(folder / f"{number}.npy").view(np.ndarray) for number in range(len(arrays))
        )
        return type(self)(cluster, confidence, order, self.starts)

    @property
    def k(self) -> int:
        """The number of clusters, empty ones included."""
        return len(self.starts) - 1

    @property
    def sizes(self) -> np.ndarray:
        """(k,) rows of each cluster."""
        return np.diff(self.starts)

    def rows(self, clusters: Sequence[int]) -> np.ndarray:
        """The rows of some clusters together, the most confident first."""
        pieces = [self._rows_of(cluster) for cluster in clusters]
        if len(pieces) == 1:
            return pieces[0]
        rows = np.concatenate([np.empty(0, np.int32), *pieces])
        return rows[np.lexsort((rows, -self.confidence[rows]))]

    def _rows_of(self, cluster: int) -> np.ndarray:
        return self.order[self.starts[cluster] : self.starts[cluster + 1]]

    def ends(self, clusters: Sequence[int], n: int) -> tuple[np.ndarray, np.ndarray]:
        """The n most confident and the n least confident rows of some clusters together.

        No row is in both. Reads at most 2n rows of each cluster.
        """
        first, last = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        for cluster in clusters:
            rows = self._rows_of(cluster)
            first.append(rows[:n])
            last.append(rows[-n:])
        sure, doubtful = np.concatenate(first), np.concatenate(last)
        sure = sure[np.lexsort((sure, -self.confidence[sure]))][:n]
        doubtful = doubtful[np.lexsort((doubtful, self.confidence[doubtful]))]
        doubtful = doubtful[~np.isin(doubtful, sure)][:n]
        return sure, doubtful

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(k,) float64: values (n,) added up within each cluster."""
        return np.bincount(self.cluster, weights=values, minlength=self.k)[: self.k]


def _by_falling(values: np.ndarray) -> np.ndarray:
    """(n,) int32: rows by falling float32 values, then by number; those of NaN last.

    Value and row are sorted as one integer: an order of magnitude faster than a stable argsort.
    """
    bits = (0.0 - np.asarray(values, np.float32)).view(np.uint32)  # 0 - x, so that no zero is -0
    is_negative = bits >> 31 == 1
    keys = np.where(is_negative, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    return keys.astype(np.uint32).view(np.int32)  # the lower half of each key


def _group(order: np.ndarray, cluster: np.ndarray, k: int) -> np.ndarray:
    """Rows in `order`, sorted by cluster, 0 to k; those of a cluster stay in their order."""
    small = cluster.astype(np.min_scalar_type(k))  # integers of 16 bits are sorted by radix
    return order[small[order].argsort(kind="stable")]


def count_overlaps(
    cluster: np.ndarray, other: np.ndarray, k: int, other_k: int
) -> "np.ndarray | csr_array":
    """(k, other_k) int64: rows that each cluster shares with each cluster of another partition.

    Rows of a cluster from k on are not counted. Sparse where it would take much more memory than
    the rows.
    """
    pairs = cluster.astype(np.int64) * other_k + other
    if k * other_k <= max(_MOST_CELLS, len(pairs)):
        return np.bincount(pairs, minlength=k * other_k)[: k * other_k].reshape(k, other_k)
    from scipy.sparse import csr_array

    cells, counts = np.unique(pairs[cluster < k], return_counts=True)
    return csr_array((counts, np.divmod(cells, other_k)), shape=(k, other_k))
