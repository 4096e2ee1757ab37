"""The vectors of features or embeddings, read a few rows at a time from files of any size."""

import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...store import Artifact
from ...store.pages import Page, find_pages, read_pages

SPACES = ("features", "embeddings")
"""What can be searched: `features` (refined: z and c joined) or `embeddings` (raw)."""

_DENSE = 16
"""Where at least one row in this many is wanted, all of the part is read: that beats many seeks."""

_READ_ROWS = 16_384
"""Rows read at a time where a whole part is read."""


class _Group(NamedTuple):
    """A row group of a Parquet file."""

    start: int
    rows: int
    pages: list[Page] | None
    """The positions of its numbers in the file; None where Arrow must decode them."""


class _Table:
    """The vectors of a Parquet file, read in place."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        with pq.ParquetFile(path) as file:
            field = file.schema_arrow.field("embedding")
            self.width = int(field.type.list_size)
            is_full = not (field.nullable or field.type.value_field.nullable)
            self._groups: list[_Group] = []
            start = 0
            for number in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(number)
                pages = find_pages(path, group, self.width) if is_full else None
                self._groups.append(_Group(start, group.num_rows, pages))
                start += group.num_rows
        self._starts = [group.start for group in self._groups]

    def read(self, first: int, count: int) -> np.ndarray:
        out = np.empty((count, self.width), np.float16)
        done = 0
        while done < count:
            number = bisect_right(self._starts, first + done) - 1
            group = self._groups[number]
            inside = first + done - group.start
            block = out[done : done + min(count - done, group.rows - inside)]
            if group.pages is None:
                block[:] = self._decoded(number)[inside : inside + len(block)]
            else:
                read_pages(self._path, group.pages, inside * self.width, block)
            done += len(block)
        return out

    def pick(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([self.read(row, 1) for row in rows.tolist()])

    def _decoded(self, number: int) -> np.ndarray:
        """A row group that is compressed or has a dictionary; no stage writes one."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path) as file:
            column = file.read_row_group(number, columns=["embedding"]).column(0).combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, np.float16).reshape(-1, self.width)


class _Array:
    """The vectors of a NumPy file: memory-mapped for single rows, read for neighbouring ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        self.width = int(self._mapped.shape[1])

    def read(self, first: int, count: int) -> np.ndarray:
        at = self._mapped.offset + 2 * self.width * first
        flat = np.fromfile(self._path, np.float16, count=count * self.width, offset=at)
        return flat.reshape(-1, self.width)

    def pick(self, rows: np.ndarray) -> np.ndarray:
        return self._mapped[rows]


class _Features:
    """The joined vectors of two NumPy files, of features z and cluster features c."""

    def __init__(self, z: Path, c: Path) -> None:
        self._z, self._c = _Array(z), _Array(c)
        self.width = self._z.width + self._c.width

    def read(self, first: int, count: int) -> np.ndarray:
        return join_features(self._z.read(first, count), self._c.read(first, count))

    def pick(self, rows: np.ndarray) -> np.ndarray:
        return join_features(self._z.pick(rows), self._c.pick(rows))


def join_features(z: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Unit rows z and c (n, p) as unit rows (n, 2p), float16: the vectors of `features`.

    A cosine of joined rows is the mean of both cosines. Rows are clustered by the same vectors. On
    some data sets, z or c alone finds fewer rows of the same class than raw embeddings do
    (`benchmarks.retrieval`): z spreads a large group over orthogonal directions, and c merges rows
    that it cannot tell apart.
    """
    both = np.concatenate([z, c], axis=1).astype(np.float32)
    return (both * np.float32(0.5**0.5)).astype(np.float16)


class VectorRows:
    """The vectors of a space by row number; a file is opened when one of its rows is first read.

    Any thread may read.
    """

    def __init__(self, source: Artifact) -> None:
        self.source = source
        self._opened: dict[str, _Table | _Features] = {}
        self._lock = threading.Lock()
        self._names = [part.name for part in source.parts]
        self._starts = [source.starts[name] for name in self._names]

    @property
    def width(self) -> int:
        """Dimensions of a row."""
        facts = self.source.facts
        if "feature_size" in facts:
            return 2 * int(facts["feature_size"])
        return int(facts["model"]["embedding_size"])

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
        parts = np.searchsorted(self._starts, wanted[order], side="right") - 1
        for number in np.unique(parts):
            indices = order[parts == number]
            self._fill(self._names[number], wanted[indices] - self._starts[number], indices, out)
        return out

    def _fill(self, name: str, inside: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
        """Copies rows `inside` one part, ascending, to `indices` of the output."""
        part, total = self._open(name), self.source.part_names[name].rows
        if len(inside) * _DENSE < total:
            out[indices] = part.pick(inside)
            return
        for first in range(0, total, _READ_ROWS):
            a, b = np.searchsorted(inside, [first, first + _READ_ROWS])
            if a < b:
                block = part.read(first, min(_READ_ROWS, total - first))
                out[indices[a:b]] = block[inside[a:b] - first]

    def _open(self, name: str) -> _Table | _Features:
        with self._lock:
            if name not in self._opened:
                if "rows" in self.source.kind.files:
                    self._opened[name] = _Table(self.source.path(name, "rows"))
                else:
                    z, c = (self.source.path(name, role) for role in ("z", "c"))
                    self._opened[name] = _Features(z, c)
            return self._opened[name]
