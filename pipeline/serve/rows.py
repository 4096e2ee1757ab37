"""What is known of each row, memory-mapped: each table is rewritten when first asked."""

import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store import Artifact
from ..view.keys import find_rows
from .damage import reading

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "key", "shard", "offset", "size", "width", "height", "caption", "label", "url", "extra",
)  # fmt: skip
"""All of an embeddings' table but the vectors."""


class Rows:
    """Rows of embeddings by their numbers over all parts.

    Parquet has no single rows: a part is decoded as a whole. So each part that is asked for is
    written once as an Arrow file into `folder`, which is mapped: a row then costs no more memory
    than its bytes. Any thread may ask.
    """

    def __init__(self, embeddings: Artifact, folder: Path) -> None:
        self._embeddings = embeddings
        self._folder = folder
        self._names = [part.name for part in embeddings.parts]
        self._starts = [embeddings.starts[name] for name in self._names]
        self._open: dict[str, pa.Table] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._embeddings.rows

    def locate(self, row: int) -> tuple[str, int]:
        """The part that holds a row, and the row's number in it; IndexError where none does."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        # Of parts that begin at the same row, all but the last are empty.
        place = bisect_right(self._starts, row) - 1
        return self._names[place], row - self._starts[place]

    def part(self, name: str) -> "pa.Table":
        """The table of a part."""
        found = self._open.get(name)
        if found is None:
            with self._lock:
                found = self._open.get(name)
                if found is None:
                    found = self._open[name] = self._map(name)
        return found

    def _map(self, name: str) -> "pa.Table":
        import pyarrow as pa
        import pyarrow.ipc

        with reading(self._embeddings):
            table = self._embeddings.table(name, columns=list(COLUMNS)).combine_chunks()
        # Named by number: a part's name may be any text.
        path = self._folder / f"{self._embeddings.starts[name]}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=max(1, len(table)))
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

    def read(self, rows: Iterable[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of some rows, as plain values, in the order asked for.

        IndexError for a row that is not there.
        """
        found = []
        for row in rows:
            part, inside = self.locate(row)
            table = self.part(part)
            found.append({name: table.column(name)[inside].as_py() for name in columns})
        return found

    def find(self, key: str, shard: str | None = None) -> list[int]:
        """The rows of a key, in one shard or in all; none where it is not there."""
        with reading(self._embeddings):
            return find_rows(self._embeddings, key, shard)
