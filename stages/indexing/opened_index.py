"""An open index, memory-mapped; any thread may search it."""

from pathlib import Path
from typing import Any

import numpy as np

from .factory import Factory
from .faiss_library import import_faiss, read_index
from .recall import Nearest
from .vectors import VectorRows

_MAX_CANDIDATES = 2000
"""Most rows read from the store for one query, unless more are requested."""


class OpenedIndex:
    """An index file, and the rows that it was built from.

    Opening reads only the centroids of the lists; a search reads what it needs.
    """

    def __init__(self, path: Path, factory: Factory, rows: VectorRows) -> None:
        self._faiss = faiss = import_faiss()
        self._factory = factory
        self._rows = rows
        is_lists = factory.shape == "lists"
        flag = faiss.IO_FLAG_MMAP if is_lists else faiss.IO_FLAG_MMAP_IFC
        self._index = read_index(path, flag)
        if is_lists:
            lists = faiss.downcast_InvertedLists(self._index.invlists)
            if hasattr(lists, "prefetch_nthread"):
                # Threads that prefetch mapped lists cost more than the query itself.
                lists.prefetch_nthread = 0
        self._threads = faiss.omp_get_max_threads()
        self._parameters: dict[int, Any] = {}

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return int(self._index.ntotal)

    @property
    def row_width(self) -> int:
        """Dimensions of a row."""
        return int(self._index.d)

    @property
    def max_width(self) -> int:
        """The width of the most thorough approximate search."""
        if self._factory.shape == "lists":
            return self._factory.lists
        return max(1, self.rows) if self._factory.shape == "graph" else 1

    def search(
        self, queries: np.ndarray, n: int, width: int, allowed: np.ndarray | None = None
    ) -> Nearest:
        """The n most similar rows to each query; queries are unit rows, float32 (q, d).

        `width` is the number of lists to visit, or of candidates to keep in a graph. `allowed`,
        bool over all rows, marks the rows that may be found. Lossy codes only choose candidates:
        similarities are computed from the rows in the store.
        """
        requested = n * self._factory.candidates
        if requested > n:
            requested = max(n, min(requested, _MAX_CANDIDATES))
        parameters = self._parameters_of(max(width, 1), requested, allowed)
        if len(queries) == 1:
            # For a single query, several threads cost more than they save.
            self._faiss.omp_set_num_threads(1)
            similarities, rows = self._index.search(queries, requested, params=parameters)
            self._faiss.omp_set_num_threads(self._threads)
        else:
            similarities, rows = self._index.search(queries, requested, params=parameters)
        if self._factory.is_lossless:
            return Nearest(similarities, rows)
        return compare_again(queries, rows, self._rows, n)

    def _parameters_of(self, width: int, requested: int, allowed: np.ndarray | None) -> Any:
        if self._factory.shape == "exact" and allowed is None:
            return None
        if self._factory.shape == "graph":
            width = max(width, requested)
        if allowed is None:
            if width not in self._parameters:
                self._parameters[width] = self._make_parameters(width)
            return self._parameters[width]
        bits = np.packbits(allowed, bitorder="little")
        return self._make_parameters(width, sel=self._faiss.IDSelectorBitmap(bits))

    def _make_parameters(self, width: int, **selector: Any) -> Any:
        if self._factory.shape == "lists":
            width = min(width, self._factory.lists)
            return self._faiss.SearchParametersIVF(nprobe=width, **selector)
        if self._factory.shape == "graph":
            return self._faiss.SearchParametersHNSW(efSearch=width, **selector)
        return self._faiss.SearchParameters(**selector)


def compare_again(queries: np.ndarray, candidates: np.ndarray, rows: VectorRows, n: int) -> Nearest:
    """The n most similar of each query's candidates (q, m), by the rows in the store."""
    distinct, indices = np.unique(candidates, return_inverse=True)
    vectors = rows.take(np.maximum(distinct, 0)).astype(np.float32)
    indices = indices.reshape(candidates.shape)
    similarities = np.stack(
        [vectors[own] @ query for own, query in zip(indices, queries, strict=True)]
    )
    similarities[candidates < 0] = -np.inf
    order = np.lexsort((candidates, -similarities), axis=1)[:, :n]
    return Nearest(
        np.take_along_axis(similarities, order, 1), np.take_along_axis(candidates, order, 1)
    )
