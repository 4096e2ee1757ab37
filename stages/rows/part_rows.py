"""The vectors in the file of one part, read in place: neighbouring rows, or some rows."""

from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...store.pages import Page, find_pages, read_pages
from ...store.residency import map_array

_DENSE = 16
"""If at least one row in this many is needed, the whole part is read: that beats many seeks."""

_READ_ROWS = 16_384
"""Rows read at a time of a part that is read whole."""


class _Group(NamedTuple):
    """A row group of a Parquet file."""

    start: int
    rows: int
    pages: list[Page] | None
    """The positions of its numbers in the file; None if Arrow must decode them."""


class TableRows:
    """The embeddings in a Parquet file."""

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
        self.rows = start
        self._starts = [group.start for group in self._groups]

    def read(self, first: int, count: int) -> np.ndarray:
        """Neighbouring rows."""
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
        """Single rows by their numbers, at least one."""
        return np.concatenate([self.read(row, 1) for row in rows.tolist()])

    def _decoded(self, number: int) -> np.ndarray:
        """A row group that is compressed or has a dictionary; no stage writes one."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path) as file:
            column = file.read_row_group(number, columns=["embedding"]).column(0).combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, np.float16).reshape(-1, self.width)


class ArrayRows:
    """The rows of a NumPy file: memory-mapped for single rows, read for neighbouring ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mapped = map_array(path)
        self.rows, self.width = map(int, self._mapped.shape)

    def read(self, first: int, count: int) -> np.ndarray:
        """Neighbouring rows."""
        at = self._mapped.offset + 2 * self.width * first
        flat = np.fromfile(self._path, np.float16, count=count * self.width, offset=at)
        return flat.reshape(-1, self.width)

    def pick(self, rows: np.ndarray) -> np.ndarray:
        """Single rows by their numbers."""
        return np.asarray(self._mapped[rows])


class JoinedRows:
    """The joined rows of two NumPy files, of features z and cluster features c."""

    def __init__(self, z: Path, c: Path) -> None:
        self._z, self._c = ArrayRows(z), ArrayRows(c)
        self.rows, self.width = self._z.rows, self._z.width + self._c.width

    def read(self, first: int, count: int) -> np.ndarray:
        """Neighbouring rows."""
        return join_features(self._z.read(first, count), self._c.read(first, count))

    def pick(self, rows: np.ndarray) -> np.ndarray:
        """Single rows by their numbers."""
        return join_features(self._z.pick(rows), self._c.pick(rows))


PartRows = TableRows | ArrayRows | JoinedRows


def join_features(z: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Unit rows z and c (n, p) as unit rows (n, 2p), float16: the vectors of `features`.

    A cosine of joined rows is the mean of both cosines. Rows are clustered by the same vectors. On
    some data sets, z or c alone finds fewer rows of the same class than raw embeddings do
    (`benchmarks.retrieval`): z spreads a large group over orthogonal directions, and c merges rows
    that it cannot tell apart.
    """
    both = np.concatenate([z, c], axis=1).astype(np.float32)
    return (both * np.float32(0.5**0.5)).astype(np.float16)


def is_read_whole(needed: int, of: int) -> bool:
    """Whether a part of `of` rows is read whole for `needed` of its rows."""
    return needed * _DENSE >= of


def fill_rows(part: PartRows, rows: np.ndarray, out: np.ndarray, places: np.ndarray) -> None:
    """Copies some rows of a part, by their ascending numbers, to places in an array."""
    if not is_read_whole(len(rows), part.rows):
        out[places] = part.pick(rows)
        return
    for first in range(0, part.rows, _READ_ROWS):
        a, b = np.searchsorted(rows, [first, first + _READ_ROWS])
        if a < b:
            block = part.read(first, min(_READ_ROWS, part.rows - first))
            out[places[a:b]] = block[rows[a:b] - first]
