"""Centroids of inverted lists: fitted by k-means, and found for each row."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .faiss_library import import_faiss, map_in_threads, on_gpu, one_thread

ITERATIONS = 10
"""Iterations of k-means at each level; more gave no better lists for a million rows."""

ASSIGN_ROWS = 8192
"""Rows that a thread assigns to lists at once."""

_PRODUCT_ROWS = 1024
"""Rows compared at once: their similarities stay in the cache."""

_MIN_GROUPED = 4096
"""From this many centroids on, rows are compared with the centroids of a few groups only."""

_GROUPS_COMPARED = 8
"""Groups of centroids that a row is compared with."""


def flat_index(centroids: np.ndarray) -> Any:
    """An index that compares a query with every centroid."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    return index


def assign_lists(coarse: Any, rows: np.ndarray, device: str = "cpu") -> np.ndarray:
    """The list (m,) of each row: that of the most similar centroid."""
    on_device = on_gpu(import_faiss(), coarse, device)
    nearest_of = nearest_centroid(coarse) if on_device is None else _searcher(on_device)

    def nearest(start: int) -> np.ndarray:
        return nearest_of(np.ascontiguousarray(rows[start : start + ASSIGN_ROWS], np.float32))

    # A GPU takes one block at a time.
    apply = map_in_threads if on_device is None else map
    blocks = [*apply(nearest, range(0, len(rows), ASSIGN_ROWS))]
    return np.concatenate([np.empty(0, np.int64), *blocks])


def nearest_centroid(coarse: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Finds the most similar centroid (n,) of rows, float32 (n, d); any thread may call it.

    Many centroids are compared in groups; then it is not the most similar one for a few rows.
    """
    faiss = import_faiss()
    flat = faiss.downcast_index(coarse)
    if not isinstance(flat, faiss.IndexFlatIP):
        return _searcher(coarse)
    centroids = faiss.vector_to_array(flat.codes).view(np.float32).reshape(flat.ntotal, flat.d)
    if len(centroids) >= _MIN_GROUPED:
        return CentroidGroups(centroids, count_groups(len(centroids))).nearest
    return lambda rows: _compare(rows, centroids)[0]


def _compare(rows: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar centroid (n,) of each row, and their similarity (n,).

    NumPy's product is three times as fast as FAISS' search for one neighbour: 8,192 rows and 4,096
    centroids at 512 dimensions take 0.45 s of a core instead of 1.2.
    """
    numbers = np.empty(len(rows), np.int64)
    similarities = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _PRODUCT_ROWS):
        block = slice(start, start + _PRODUCT_ROWS)
        product = rows[block] @ centroids.T
        numbers[block] = product.argmax(1)
        similarities[block] = np.take_along_axis(product, numbers[block, None], 1)[:, 0]
    return numbers, similarities


class CentroidGroups:
    """Centroids in groups of similar ones: a row is compared with those of a few groups only."""

    def __init__(self, centroids: np.ndarray, groups: int) -> None:
        faiss = import_faiss()
        with one_thread(faiss):
            self._centers = kmeans(faiss, centroids, groups, 0)
        group_of, _ = _compare(centroids, self._centers)
        self._groups = [np.flatnonzero(group_of == group) for group in range(groups)]
        self._centroids = [centroids[numbers] for numbers in self._groups]

    def nearest(self, rows: np.ndarray, compared: int = _GROUPS_COMPARED) -> np.ndarray:
        """The most similar centroid (n,) of rows, float32 (n, d), in the groups nearest to each."""
        numbers = np.zeros(len(rows), np.int64)
        best = np.full(len(rows), -np.inf, np.float32)
        for group, members in enumerate(self._rows_by_group(rows, compared)):
            if not len(members) or not len(self._groups[group]):
                continue
            number, similarity = _compare(rows[members], self._centroids[group])
            is_better = similarity > best[members]
            better = members[is_better]
            best[better] = similarity[is_better]
            numbers[better] = self._groups[group][number[is_better]]
        return numbers

    def _rows_by_group(self, rows: np.ndarray, compared: int) -> list[np.ndarray]:
        """For each group the rows that are compared with its centroids."""
        compared = min(compared, len(self._centers))
        nearest = np.argpartition(rows @ -self._centers.T, compared - 1, axis=1)[:, :compared]
        group_of = nearest.ravel().astype(np.min_scalar_type(len(self._centers)))
        order = np.argsort(group_of, kind="stable")
        ends = np.cumsum(np.bincount(group_of, minlength=len(self._centers)))
        return np.split(order // compared, ends[:-1])


def _searcher(index: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: index.search(rows, 1)[1][:, 0]


def comparisons(lists: int) -> int:
    """How many centroids a row is compared with until its list is found, on average."""
    if lists < _MIN_GROUPED:
        return lists
    groups = count_groups(lists)
    return groups + _GROUPS_COMPARED * lists // groups


def count_groups(lists: int) -> int:
    """The groups in which the centroids of so many lists are fitted, and compared."""
    return round(lists**0.5)


def kmeans(faiss: Any, rows: np.ndarray, k: int, seed: int, assigner: Any = None) -> np.ndarray:
    """Unit centroids by inner product or, with an assigner, centroids by its metric."""
    x = np.ascontiguousarray(rows, np.float32)
    assigner = assigner or faiss.IndexFlatIP(x.shape[1])
    clustering = faiss.Clustering(x.shape[1], k)
    clustering.niter, clustering.seed = ITERATIONS, seed % 2**31  # FAISS' seed is an int
    clustering.spherical = assigner.metric_type == faiss.METRIC_INNER_PRODUCT
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, len(x)
    clustering.train(x, assigner)
    return faiss.vector_to_array(clustering.centroids).reshape(k, -1)
