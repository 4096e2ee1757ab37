"""An index that is open: mapped into memory, asked for any number of queries, by any thread."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .factory import Factory
from .faiss_library import import_faiss
from .recall import Nearest
from .vectors import VectorRows

if TYPE_CHECKING:
    import numpy as np

Curve = Sequence[tuple[int, float]]
"""Search widths, ascending, and the recall@10 that was measured with each."""

_SURE = 0.8
"""Of what a target lets be missed, the share that may have been where recall was measured."""

_MOST_CANDIDATES = 2000
"""Rows that are read out of the store for one query, unless as many are wanted."""


class OpenedIndex:
    """An index file with the rows that it was made from.

    What a search touches is read then; opening reads no more than the centroids of the lists.
    """

    def __init__(self, path: Path, factory: Factory, rows: VectorRows) -> None:
        self._faiss = faiss = import_faiss()
        self._factory = factory
        self._rows = rows
        is_lists = factory.shape == "lists"
        flag = faiss.IO_FLAG_MMAP if is_lists else faiss.IO_FLAG_MMAP_IFC
        self._index = faiss.read_index(str(path), flag)
        if is_lists:
            # Threads that fetch lists ahead cost a query more than it takes.
            faiss.downcast_InvertedLists(self._index.invlists).prefetch_nthread = 0
        self._threads = faiss.omp_get_max_threads()
        self._parameters: dict[int, Any] = {}

    @property
    def rows(self) -> int:
        """How many it holds."""
        return int(self._index.ntotal)

    @property
    def most_wide(self) -> int:
        """The width at which no approximate search is more thorough."""
        if self._factory.shape == "lists":
            return self._factory.lists
        return max(1, self.rows) if self._factory.shape == "graph" else 1

    def search(
        self, queries: "np.ndarray", n: int, width: int, allowed: "np.ndarray | None" = None
    ) -> Nearest:
        """The n most similar rows to each query: float32 (q, d), unit rows.

        `width` is how many lists are visited, or candidates kept in a graph. `allowed`, bool over
        all rows, are those that may be found. Lossy codes choose candidates alone: similarities are
        those of the rows in the store.
        """
        wanted = n * self._factory.candidates
        if wanted > n:
            wanted = max(n, min(wanted, _MOST_CANDIDATES))
        parameters = self._parameters_of(max(width, 1), wanted, allowed)
        if len(queries) == 1:
            # Threads that wait for one another cost a lone query more than they save.
            self._faiss.omp_set_num_threads(1)
            similarities, rows = self._index.search(queries, wanted, params=parameters)
            self._faiss.omp_set_num_threads(self._threads)
        else:
            similarities, rows = self._index.search(queries, wanted, params=parameters)
        if self._factory.is_lossless:
            return Nearest(similarities, rows)
        return compare_again(queries, rows, self._rows, n)

    def _parameters_of(self, width: int, wanted: int, allowed: "np.ndarray | None") -> Any:
        if self._factory.shape == "exact" and allowed is None:
            return None
        if self._factory.shape == "graph":
            width = max(width, wanted)
        if allowed is None:
            if width not in self._parameters:
                self._parameters[width] = self._make_parameters(width)
            return self._parameters[width]
        import numpy as np

        bits = np.packbits(allowed, bitorder="little")
        return self._make_parameters(width, sel=self._faiss.IDSelectorBitmap(bits))

    def _make_parameters(self, width: int, **selector: Any) -> Any:
        if self._factory.shape == "lists":
            width = min(width, self._factory.lists)
            return self._faiss.SearchParametersIVF(nprobe=width, **selector)
        if self._factory.shape == "graph":
            return self._faiss.SearchParametersHNSW(efSearch=width, **selector)
        return self._faiss.SearchParameters(**selector)


def compare_again(
    queries: "np.ndarray", candidates: "np.ndarray", rows: VectorRows, n: int
) -> Nearest:
    """The n most similar of each query's candidates (q, m), by the rows in the store."""
    import numpy as np

    wanted, place = np.unique(candidates, return_inverse=True)
    vectors = rows.take(np.maximum(wanted, 0)).astype(np.float32)
    place = place.reshape(candidates.shape)
    similarities = np.stack(
        [vectors[some] @ query for some, query in zip(place, queries, strict=True)]
    )
    similarities[candidates < 0] = -np.inf
    order = np.lexsort((candidates, -similarities), axis=1)[:, :n]
    return Nearest(
        np.take_along_axis(similarities, order, 1), np.take_along_axis(candidates, order, 1)
    )


def width_for(curve: Curve, target: float) -> int:
    """The least width that reached a recall; where none did, the one with the highest recall.

    What was measured on some rows is asked to lose a fifth less: on others it may be less.
    """
    for width, recall in curve:
        if recall >= 1 - _SURE * (1 - target):
            return width
    return max(curve, key=lambda one: one[1])[0]


def recall_at(curve: Curve, width: int) -> float:
    """The recall that was measured with a width, or with the next smaller one."""
    return max((one for one in curve if one[0] <= width), default=curve[0])[1]


def curve_of(facts: Mapping[str, Any]) -> Curve:
    """The curve that an index keeps in its facts."""
    return [(int(width), float(recall)) for width, recall in facts["curve"]]
