"""Searching a run: the rows that are nearest to a query, with what is known of each."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ...stages.indexing.factory import Factory
from ...stages.indexing.opened_index import OpenedIndex
from ...stages.indexing.recall import NEIGHBOURS
from ...stages.indexing.recall_curve import curve_of, width_for
from ...stages.indexing.vectors import VectorRows
from ...store import Artifact, MissingError, QueryError, StoreError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FEW_ROWS = 50_000
"""Where no more may be found, each is compared: 128 wide, that takes 10 ms."""

_READ_ROWS = 16_384

TARGET_RECALL = 0.95
"""Where nothing else is asked for."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One row that was found."""

    rank: int
    similarity: float
    """Cosine, in the space that was searched."""
    key: str
    shard: str
    row: int
    """Its number over all parts."""
    cluster: int | None = None
    confidence: float | None = None
    caption: str | None = None
    """Of its cluster, where clusters are captioned."""
    open_picture: "Callable[[int], Image.Image] | None" = field(
        default=None, repr=False, compare=False
    )

    def image(self) -> "Image.Image":
        """Its picture, read where it lies; MissingError when it is not there."""
        if self.open_picture is None:
            raise MissingError(f"{self.key} of {self.shard} was found without a run: no picture")
        return self.open_picture(self.row)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = [one.name for one in fields(self) if one.name != "open_picture"]
        return {name: getattr(self, name) for name in names}


def has_faiss() -> bool:
    """Whether an index can be opened; without FAISS every row is compared."""
    return importlib.util.find_spec("faiss") is not None


class Searcher:
    """Nearest rows of one space: by its index, or by comparing every row. Any thread may ask."""

    def __init__(
        self, source: Artifact, index: Artifact | None = None, *, few_rows: int = FEW_ROWS
    ) -> None:
        self.rows = VectorRows(source)
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
        """Similarities and rows of the n nearest to a query (1, d), best first; of all if there are
        no more.

        `allowed`, bool over all rows, are those that may be found. Few of them are compared one by
        one; with many, total/allowed times as many lists are visited, and more until there are n
        rows.
        """
        import numpy as np

        query = np.ascontiguousarray(query, np.float32)
        passing = self._total if allowed is None else int(np.count_nonzero(allowed))
        n = min(n, passing)
        is_filtered = passing < self._total
        is_few = is_filtered and (passing <= self._few_rows or self._shape != "lists")
        if self._index is None or is_few or not n:
            similarities, rows = self._exact(query, n, allowed)
            return similarities[0], rows[0]
        width = self._width(n, target_recall)
        if is_filtered:
            width = min(self._index.max_width, -(-width * self._total // passing))
        while True:
            found = self._index.search(query, n, width, allowed if is_filtered else None)
            similarities, rows = found.similarities[0], found.rows[0]
            if rows[-1] >= 0:
                return similarities, rows
            if width >= self._index.max_width:
                return similarities[rows >= 0], rows[rows >= 0]
            width *= 2

    def nearest_to_each(
        self, queries: "np.ndarray", n: int, *, target_recall: float = TARGET_RECALL
    ) -> "tuple[np.ndarray, np.ndarray]":
        """Similarities and rows (q, n) of the nearest to many queries (q, d), by all threads.

        Row -1 stands where there are no more.
        """
        import numpy as np

        queries = np.ascontiguousarray(queries, np.float32)
        if self._index is not None:
            found = self._index.search(queries, n, self._width(n, target_recall))
            return found.similarities, found.rows
        similarities, rows = self._exact(queries, n, None)
        more = ((0, 0), (0, n - rows.shape[1]))
        return (
            np.pad(similarities, more, constant_values=-np.inf),
            np.pad(rows, more, constant_values=-1),
        )

    def _width(self, n: int, target_recall: float) -> int:
        # Recall was measured on ten neighbours: more of them lie in more lists.
        return width_for(self._curve, target_recall) * max(1, n // NEIGHBOURS)

    def _exact(
        self, queries: "np.ndarray", n: int, allowed: "np.ndarray | None"
    ) -> "tuple[np.ndarray, np.ndarray]":
        """Similarities and rows (q, n or as many as there are), in one pass over all rows."""
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
                found = queries @ block.astype(np.float32).T
                best = np.concatenate([best, found], axis=1)
                rows = np.concatenate([rows, np.broadcast_to(numbers, found.shape)], axis=1)
                keep = np.argsort(-best, axis=1, kind="stable")[:, :n]
                best = np.take_along_axis(best, keep, axis=1)
                rows = np.take_along_axis(rows, keep, axis=1)
        return best, rows


def open_index(index: Artifact, rows: VectorRows) -> OpenedIndex:
    """An index of a space, open; QueryError when it was made of other rows or by another model."""
    source, facts = rows.source, index.facts
    space = source.kind.name
    used = index.manifest.inputs[space]
    if used.content != source.content:
        raise QueryError(
            f"index/{space} {index.version} is out of date: it is of {space} {used.version}, and "
            f"the run holds {space} {source.version}: run `cpp-pipe index`"
        )
    if facts["model"] != dict(source.facts["model"]):
        raise QueryError(
            f"index/{space} {index.version} holds rows of another model than {space} "
            f"{source.version}: use another run (--run) for each"
        )
    path = index.path(index.parts[0].name, "index")
    try:
        return OpenedIndex(path, Factory.parse(facts["factory"]), rows)
    except RuntimeError as error:
        raise StoreError(
            f"{path} is not the index that was written there: `cpp-pipe verify` names what is "
            "damaged, and without its folder `cpp-pipe index` makes it again"
        ) from error


def describe_rows(
    rows: Sequence[int],
    similarities: Sequence[float],
    embeddings: Artifact,
    assignments: Artifact | None,
    captions: Artifact | None,
    open_picture: "Callable[[int], Image.Image] | None" = None,
) -> list[Hit]:
    """What is known of rows: key, shard, cluster and caption, read from their parts alone."""
    names = first_captions(captions) if captions is not None else {}
    located = [embeddings.locate(int(row)) for row in rows]
    told = _look_up(embeddings, located, ["key", "shard"])
    known = _look_up(assignments, located, ["cluster", "confidence"]) if assignments else {}
    hits = []
    for rank, (row, similarity) in enumerate(zip(rows, similarities, strict=True), start=1):
        of_cluster = known.get(located[rank - 1], {})
        hits.append(
            Hit(
                rank=rank,
                similarity=float(similarity),
                row=int(row),
                caption=names.get(of_cluster.get("cluster", -1)),
                open_picture=open_picture,
                **told[located[rank - 1]],
                **of_cluster,
            )
        )
    return hits


def _look_up(
    artifact: Artifact, located: Sequence[tuple[str, int]], columns: Sequence[str]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Some columns of rows, by part and number in it; each part that has any is read once."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for name in {part for part, _ in located if part in artifact.part_names}:
        inside = sorted({row for part, row in located if part == name})
        told = artifact.table(name, columns=columns).take(inside).to_pylist()
        found |= {(name, row): one for row, one in zip(inside, told, strict=True)}
    return found


def first_captions(captions: Artifact) -> Mapping[int, str]:
    """The best caption of each cluster."""
    return {
        row["cluster"]: row["caption"]
        for row in captions.table(captions.parts[0].name).to_pylist()
        if row["rank"] == 1
    }
