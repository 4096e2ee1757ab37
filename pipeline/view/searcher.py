"""Searchers: the rows of a space nearest to a query, as hits."""

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ...stages.indexing.factory import Factory
from ...stages.indexing.opened_index import OpenedIndex
from ...stages.indexing.recall import NEIGHBOURS
from ...stages.indexing.recall_curve import curve_of, width_for
from ...stages.indexing.vectors import VectorRows
from ...store import Artifact, MissingError, QueryError, StoreError
from .captions import first_captions
from .columns import read_rows

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ...stages.edits.replay import Edited

FEW_ROWS = 50_000
"""If a filter allows no more rows, each is compared: with 128 numbers a row that takes 10 ms."""

_READ_ROWS = 16_384
"""Rows that are read and compared at once."""

TARGET_RECALL = 0.95
"""The share of true neighbours to find, by default."""

_MORE_LISTS = 0.7
"""The power of n / 10 by which n neighbours lie in more lists than ten: 0.25 for 74,000 images in
272 lists, 0.4 to 0.7 for a few thousand in 70."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A row that was found."""

    rank: int
    similarity: float
    """Cosine, in the space that was searched."""
    key: str
    shard: str
    row: int
    """Its number, counted over all parts."""
    cluster: int | None = None
    confidence: float | None = None
    caption: str | None = None
    """The first caption of its cluster, if it has one."""
    open_image: "Callable[[int], Image.Image] | None" = field(
        default=None, repr=False, compare=False
    )

    def image(self) -> "Image.Image":
        """The image, read from its source; MissingError if that is gone."""
        if self.open_image is None:
            raise MissingError(
                f"{self.key} of {self.shard} was found without a run, so it has no image"
            )
        return self.open_image(self.row)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = [field_.name for field_ in fields(self) if field_.name != "open_image"]
        return {name: getattr(self, name) for name in names}


def has_faiss() -> bool:
    """Whether FAISS is installed, which opens indexes; without it every row is compared."""
    return importlib.util.find_spec("faiss") is not None


class Searcher:
    """Finds nearest rows of one space by its index, or by comparing every row. Thread-safe."""

    def __init__(
        self, source: Artifact, index: Artifact | None = None, *, few_rows: int = FEW_ROWS
    ) -> None:
        self.rows = VectorRows(source, width=None if index is None else int(index.facts["width"]))
        self._total = source.rows
        self._few_rows = few_rows
        self._index = None if index is None else open_index(index, self.rows)
        self._curve = [(1, 1.0)] if index is None else curve_of(index.facts)
        self._shape = None if index is None else Factory.parse(index.facts["factory"]).shape

    def nearest(
        self,
        query: "np.ndarray",
        n: int,
        *,
        target_recall: float = TARGET_RECALL,
        allowed: "np.ndarray | None" = None,
    ) -> "tuple[np.ndarray, np.ndarray]":
        """Similarities and rows of the n nearest to a query (1, d), best first.

        `allowed` says which rows may be found, bool (rows,). Few allowed rows are compared one by
        one. With many, a search visits total/allowed times as many lists, then more until it has n
        rows. Fewer than n are returned if no more are allowed.
        """
        import numpy as np

        query = np.ascontiguousarray(query, np.float32)
        n_allowed = self._total if allowed is None else int(np.count_nonzero(allowed))
        n = min(n, n_allowed)
        is_filtered = n_allowed < self._total
        is_few = is_filtered and (n_allowed <= self._few_rows or self._shape != "lists")
        if self._index is None or is_few or not n:
            similarities, rows = self._exact(query, n, allowed)
            return similarities[0], rows[0]
        width = self._width(n, target_recall)
        if is_filtered:
            width = min(self._index.max_width, -(-width * self._total // n_allowed))
        while True:
            nearest = self._index.search(query, n, width, allowed if is_filtered else None)
            similarities, rows = nearest.similarities[0], nearest.rows[0]
            if rows[-1] >= 0:
                return similarities, rows
            if width >= self._index.max_width:
                return similarities[rows >= 0], rows[rows >= 0]
            width *= 2

    def nearest_to_each(
        self,
        queries: "np.ndarray",
        n: int,
        *,
        target_recall: float = TARGET_RECALL,
        allowed: "np.ndarray | None" = None,
    ) -> "tuple[np.ndarray, np.ndarray]":
        """Similarities and rows (q, n) of the nearest to many queries (q, d), on all threads.

        Where there are fewer than n rows, row -1 fills up. `allowed`, a bool for each row, leaves
        others out; then rows are compared one by one.
        """
        import numpy as np

        queries = np.ascontiguousarray(queries, np.float32)
        if self._index is not None and allowed is None:
            nearest = self._index.search(queries, n, self._width(n, target_recall))
            return nearest.similarities, nearest.rows
        similarities, rows = self._exact(queries, n, allowed)
        padding = ((0, 0), (0, n - rows.shape[1]))
        return (
            np.pad(similarities, padding, constant_values=-np.inf),
            np.pad(rows, padding, constant_values=-1),
        )

    def _width(self, n: int, target_recall: float) -> int:
        # Recall was measured on ten neighbours. A hundred lie in up to five times as many lists.
        more = (max(n, NEIGHBOURS) / NEIGHBOURS) ** _MORE_LISTS
        return math.ceil(width_for(self._curve, target_recall) * more)

    def _exact(
        self, queries: "np.ndarray", n: int, allowed: "np.ndarray | None"
    ) -> "tuple[np.ndarray, np.ndarray]":
        """Similarities and rows (q, n or as many as are allowed), in one pass over all rows."""
        import numpy as np

        best = np.empty((len(queries), 0), np.float32)
        rows = np.empty((len(queries), 0), np.int64)
        for part in self.rows.source.parts:
            start = self.rows.source.starts[part.name]
            for first in range(0, part.rows, _READ_ROWS):
                count = min(_READ_ROWS, part.rows - first)
                numbers = np.arange(start + first, start + first + count)
                if allowed is not None:
                    numbers = numbers[allowed[numbers]]
                if not len(numbers):
                    continue
                is_whole = len(numbers) == count
                block = (
                    self.rows.read(part.name, first, count) if is_whole else self.rows.take(numbers)
                )
                cosines = queries @ block.astype(np.float32).T
                best = np.concatenate([best, cosines], axis=1)
                rows = np.concatenate([rows, np.broadcast_to(numbers, cosines.shape)], axis=1)
                keep = np.argsort(-best, axis=1, kind="stable")[:, :n]
                best = np.take_along_axis(best, keep, axis=1)
                rows = np.take_along_axis(rows, keep, axis=1)
        return best, rows


def open_index(index: Artifact, rows: VectorRows) -> OpenedIndex:
    """Opens an index of a space; QueryError if it is of other rows or of another model."""
    source, facts = rows.source, index.facts
    space = source.kind.name
    used = index.manifest.inputs.get(space)
    if used is None or used.content != source.content:
        of = "unknown rows" if used is None else f"{space} {used.version}"
        raise QueryError(
            f"index/{space} {index.version} is out of date: it is of {of}, and "
            f"the run holds {space} {source.version}: run `cpp-pipe index`"
        )
    if facts["model"] != dict(source.facts["model"]):
        raise QueryError(
            f"index/{space} {index.version} holds rows of another model than {space} "
            f"{source.version}: use a run (--run) for each model"
        )
    path = index.path(index.only_part, "index")
    try:
        opened = OpenedIndex(path, Factory.parse(facts["factory"]), rows)
        if opened.row_width != rows.width:
            raise RuntimeError(f"it holds rows of {opened.row_width} numbers, not {rows.width}")
        return opened
    except RuntimeError as error:
        raise StoreError(
            f"{path} is damaged: `cpp-pipe verify` names what else is; remove the folder of the "
            "index and run `cpp-pipe index` to make it again"
        ) from error


def describe_rows(
    rows: Sequence[int],
    similarities: Sequence[float],
    embeddings: Artifact,
    assignments: Artifact | None,
    captions: Artifact | None,
    open_image: "Callable[[int], Image.Image] | None" = None,
    edited: "Edited | None" = None,
) -> list[Hit]:
    """Rows as hits, with key, shard, cluster and caption; reads only the parts that hold them.

    With decisions, clusters and their names are the decided ones.
    """
    names = dict(first_captions(captions)) if captions is not None else {}
    known = read_rows(embeddings, rows, ("key", "shard"))
    clusters: list[dict[str, Any]] = [{}] * len(rows)
    if assignments is not None:
        clusters = read_rows(assignments, rows, ("cluster", "confidence"))
    if edited is not None:
        names |= edited.names
        decided = edited.cluster[list(rows)].tolist()
        clusters = [
            {**columns, "cluster": cluster}
            for columns, cluster in zip(clusters, decided, strict=True)
        ]
    return [
        Hit(
            rank=rank,
            similarity=float(similarity),
            row=int(row),
            caption=names.get(cluster.get("cluster", -1)),
            open_image=open_image,
            **columns,
            **cluster,
        )
        for rank, (row, similarity, columns, cluster) in enumerate(
            zip(rows, similarities, known, clusters, strict=True), start=1
        )
    ]
