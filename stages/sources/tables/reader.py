"""A Parquet file read row by row, without holding a whole column of images."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....store.errors import ShardError
from .values import plain_column, table_errors

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BLOCK_ROWS = 64
"""Rows decoded at a time: a few blocks of images of several megabytes must fit in memory."""
_BLOCKS_KEPT = 2
"""Decoded blocks that are kept: threads ask for rows almost in order, so two suffice."""
_STREAM_BYTES = 1 << 20
"""Bytes of a column that are read ahead."""


@contextlib.contextmanager
def open_table(path: Path) -> Iterator["pq.ParquetFile"]:
    """Opens a Parquet file for the block; ShardError if it is damaged or not Parquet."""
    import pyarrow.parquet as pq

    with _table_errors(path):
        file = pq.ParquetFile(path, buffer_size=_STREAM_BYTES)
    with file:
        yield file


def column_values(file: "pq.ParquetFile", path: Path, column: str) -> Iterator[Any]:
    """The values of one column, or of one field of a struct, in order."""
    with _table_errors(path):
        for batch in file.iter_batches(columns=[column], use_threads=False):
            yield from plain_column(batch.column(0))


@contextlib.contextmanager
def _table_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except table_errors() as error:
        raise ShardError(f"the table {path} cannot be read as Parquet: {error}") from error


class TableReader:
    """Reads some columns of a Parquet file, in order; safe to use from several threads."""

    def __init__(self, file: "pq.ParquetFile", path: Path, columns: Sequence[str]) -> None:
        self._file = file
        self._path = path
        self._columns = list(columns)
        self._lock = threading.Lock()
        self._blocks: list[tuple[int, pa.RecordBatch]] = []
        self._next = 0
        self._stream: Iterator[pa.RecordBatch] = iter(())

    def row(self, row: int) -> dict[str, Any]:
        """The values of a row by column; an earlier row restarts reading at its row group."""
        with self._lock, _table_errors(self._path):
            if not self._blocks or row < self._blocks[0][0]:
                self._start(row)
            while row >= self._next:
                block = next(self._stream)
                self._blocks = [*self._blocks[1 - _BLOCKS_KEPT :], (self._next, block)]
                self._next += block.num_rows
            start, block = next(block for block in reversed(self._blocks) if block[0] <= row)
            columns = zip(block.schema.names, block.slice(row - start, 1).columns, strict=True)
            return {name: plain_column(column)[0] for name, column in columns}

    def _start(self, row: int) -> None:
        """Starts reading at the row group that holds a row."""
        first = group = 0
        groups = self._file.metadata.num_row_groups
        while row >= first + (rows := self._file.metadata.row_group(group).num_rows):
            first, group = first + rows, group + 1
        self._blocks, self._next = [], first
        self._stream = self._file.iter_batches(
            _BLOCK_ROWS,
            row_groups=list(range(group, groups)),
            columns=self._columns,
            use_threads=False,
        )
