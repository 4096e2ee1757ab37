"""The fields of each row, memory-mapped: the table of a part is converted on first use."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ...store import Artifact
from ...store.residency import hold
from ..threads import processors
from ..view.columns import SAMPLE_COLUMNS
from ..view.keys import find_rows
from .damage import reading
from .mapped_folder import MappedFolder
from .single_flight import SingleFlight

if TYPE_CHECKING:
    import pyarrow as pa


class RowFields:
    """Fields of rows, which are numbered over all parts. Safe to call from any thread.

    A Parquet part can only be decoded as a whole. So a part is written once, on first use, as an
    Arrow file into `folder` and memory-mapped: reading a row then touches only its own bytes.
    """

    def __init__(self, embeddings: Artifact, folder: MappedFolder) -> None:
        self._embeddings = embeddings
        self._folder = folder
        self._names = [part.name for part in embeddings.parts]
        self._starts = [embeddings.starts[name] for name in self._names]
        self._places = {name: place for place, name in enumerate(self._names)}
        self._tables: dict[str, pa.Table] = {}
        self._mapped: dict[str, pa.Buffer] = {}
        """The mapped files of the tables; a table without rows would not keep its file mapped."""
        self._flight: SingleFlight[pa.Table] = SingleFlight()

    @property
    def embeddings(self) -> Artifact:
        """The embeddings whose rows these are."""
        return self._embeddings

    def __len__(self) -> int:
        return self._embeddings.rows

    def locate(self, row: int) -> tuple[str, int]:
        """The part that holds a row, and the row's number in it; IndexError if there is none."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        # Of parts that start at the same row, all except the last are empty.
        place = bisect_right(self._starts, row) - 1
        return self._names[place], row - self._starts[place]

    def parts(self) -> "Iterator[tuple[int, pa.Table]]":
        """Each part: the number of its first row, and its table."""
        for name, start in zip(self._names, self._starts, strict=True):
            yield start, self.part(name)

    def part(self, name: str) -> "pa.Table":
        """The table of a part."""
        table = self._tables.get(name)
        return self._flight.do(name, lambda: self._map_part(name)) if table is None else table

    def _map_part(self, name: str) -> "pa.Table":
        if name not in self._tables:  # another thread may have mapped it just before
            self._tables[name] = self._write_part(name)
        return self._tables[name]

    def _write_part(self, name: str) -> "pa.Table":
        import pyarrow as pa
        import pyarrow.ipc

        with reading(self._embeddings):
            table = self._embeddings.table(name, columns=list(SAMPLE_COLUMNS)).combine_chunks()
        with self._folder.writing() as folder:
            if folder is None:
                return table
            folder.mkdir(parents=True, exist_ok=True)
            # Named by the part's place: its name may be any text, and an empty part starts at the
            # same row as the next one, whose file must not be written over while it is mapped.
            path = folder / f"{self._places[name]}.arrow"
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=max(1, len(table)))
            mapped = self._mapped[name] = pa.memory_map(str(path)).read_buffer()
            hold(mapped, [(mapped.address, mapped.size)])
            return pa.ipc.open_file(mapped).read_all()

    def read(self, rows: Iterable[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of some rows as Python values, in the order of `rows`.

        IndexError for a row that does not exist.
        """
        places = [self.locate(row) for row in rows]
        self._map_parts({part for part, _ in places})
        fields = []
        for part, inside in places:
            table = self.part(part)
            fields.append({name: table.column(name)[inside].as_py() for name in columns})
        return fields

    def _map_parts(self, names: Iterable[str]) -> None:
        """Maps those of some parts that are not mapped yet, in threads."""
        absent = [name for name in names if name not in self._tables]
        if len(absent) > 1:
            with ThreadPoolExecutor(min(len(absent), processors())) as pool:
                list(pool.map(self.part, absent))

    def find(self, key: str, shard: str | None = None) -> list[int]:
        """The rows of a key, in one shard or in all; empty if there are none."""
        with reading(self._embeddings):
            return find_rows(self._embeddings, key, shard)
