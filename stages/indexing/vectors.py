"""The vectors of features or embeddings, read a few rows at a time from files of any size."""

import threading
from collections.abc import Sequence

import numpy as np

from ...store import Artifact
from ..contract import DrawRows
from ..rows.artifact_rows import EMBEDDING
from ..rows.part_rows import (
    ArrayRows,
    JoinedRows,
    PartRows,
    TableRows,
    fill_rows,
    join_features,
)

SPACES = ("features", "embeddings")
"""What can be searched: `features` (refined: z and c joined, or z alone where c is the same) or
`embeddings` (raw)."""


class VectorRows:
    """The vectors of a space by row number; a file is opened when one of its rows is first read.

    Any thread may read. With `draw`, rows that are taken by their numbers are read elsewhere. A
    `width` says how wide features are in an index that was built before z alone was used.
    """

    def __init__(
        self, source: Artifact, draw: DrawRows | None = None, *, width: int | None = None
    ) -> None:
        self.source = source
        self._draw = draw
        feature_size = source.facts.get("feature_size")
        self._has_one_head = feature_size is not None and has_one_head(source)
        self._is_joined = feature_size is not None and (
            not self._has_one_head if width is None else width == 2 * feature_size
        )
        self._opened: dict[str, PartRows] = {}
        self._lock = threading.Lock()
        self._names = [part.name for part in source.parts]
        self._starts = [source.starts[name] for name in self._names]

    @property
    def width(self) -> int:
        """Dimensions of a row."""
        facts = self.source.facts
        if "feature_size" in facts:
            return int(facts["feature_size"]) * (2 if self._is_joined else 1)
        return int(facts["model"]["embedding_size"])

    def join(self, z: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Features and cluster features (n, p) as rows of this space: float16 (n, d)."""
        return join_features(z, c) if self._is_joined else z

    @property
    def query_widths(self) -> tuple[int, ...]:
        """Dimensions that `as_row` takes: where z and c are the same, of z alone and of both."""
        if not self._has_one_head:
            return (self.width,)
        feature_size = int(self.source.facts["feature_size"])
        return (feature_size, 2 * feature_size)

    def as_row(self, query: np.ndarray) -> np.ndarray:
        """A query (q,) as the rows have it, with the same neighbours; another size stays.

        Where z and c are the same, a query of before z alone was used has both, and an index of
        before holds both.
        """
        allowed = [(size,) for size in self.query_widths]
        if query.shape == (self.width,) or query.shape not in allowed:
            return query
        if self._is_joined:
            return np.concatenate([query, query])
        with np.errstate(over="ignore", invalid="ignore"):
            return query.reshape(2, -1).astype(np.float64).sum(0)

    def read(self, part: str, first: int, count: int) -> np.ndarray:
        """Neighbouring rows of a part: float16 (count, d)."""
        return self._open(part).read(first, count)

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows by their numbers over all parts, in any order: float16 (m, d)."""
        wanted = np.asarray(rows, np.int64)
        out = np.empty((len(wanted), self.width), np.float16)
        if not len(wanted):
            return out
        order = np.argsort(wanted, kind="stable")
        if self._draw is not None:
            out[order] = self._drawn(self._draw, wanted[order])
            return out
        parts = np.searchsorted(self._starts, wanted[order], side="right") - 1
        for number in np.unique(parts):
            places = order[parts == number]
            inside = wanted[places] - self._starts[number]
            fill_rows(self._open(self._names[number]), inside, out, places)
        return out

    def _drawn(self, draw: DrawRows, rows: np.ndarray) -> np.ndarray:
        if self._is_table:
            return draw(self.source, EMBEDDING, rows)
        if not self._is_joined:
            return draw(self.source, "z", rows)
        return join_features(*(draw(self.source, role, rows) for role in ("z", "c")))

    @property
    def _is_table(self) -> bool:
        return "rows" in self.source.kind.files

    def _open(self, name: str) -> PartRows:
        with self._lock:
            if name not in self._opened:
                if self._is_table:
                    self._opened[name] = TableRows(self.source.path(name, "rows"))
                elif not self._is_joined:
                    self._opened[name] = ArrayRows(self.source.path(name, "z"))
                else:
                    z, c = (self.source.path(name, role) for role in ("z", "c"))
                    self._opened[name] = JoinedRows(z, c)
            return self._opened[name]


def has_one_head(features: Artifact) -> bool:
    """Whether cluster features are the features themselves, as heads that were not trained give.

    By the digests of their files: nothing is read. Joined, they would give the same cosines at
    twice the cost.
    """
    return all(part.files["z"].sha256 == part.files["c"].sha256 for part in features.parts)
