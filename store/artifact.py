"""Reading a published artifact."""

import operator
import reprlib
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backend import Backend, backend_of
from .check import NO_RANGES
from .counting import counted
from .errors import FormatError, MissingError, NewerFormatError, RowError, StoreError
from .files import Stamp, stamp
from .integrity import is_whole, parsing, require_declared, require_whole
from .kind_facts import KIND_FACTS, Range
from .kinds import KINDS, Kind
from .manifest import MANIFEST, PARTS, FileRecord, Manifest, PartRecord
from .paths import StorePath, is_in_bucket
from .residency import map_array
from .specs import VECTOR, Table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

_STEP_NS = 2 * 10**9
"""Resolution of a file's modification time: two seconds on FAT, mostly far less."""


class Artifact:
    """A published version of a kind, in a folder of the store. It never changes."""

    def __init__(self, folder: StorePath) -> None:
        self.folder = folder

    @property
    def _backend(self) -> Backend[Any]:
        return backend_of(self.folder)

    def __repr__(self) -> str:
        return f"Artifact({self.kind.name}/{self.version}, {counted(self.rows, 'row')})"

    @cached_property
    def manifest(self) -> Manifest:
        """What the artifact is and what it was made from; FormatError for another format."""
        path = self.folder / MANIFEST
        if not isinstance(path, Path) or is_in_bucket(path) or not path.is_file():
            return _read_manifest(path)
        try:
            current, written_ns = stamp(path), path.stat().st_mtime_ns
        except OSError:  # it has just been removed: reading says so
            return _read_manifest(path)
        # A file that was just written may change within the resolution and keep its stamp.
        is_settled = time.time_ns() - written_ns > _STEP_NS
        return _read_unchanged(path, current) if is_settled else _read_manifest(path)

    @property
    def kind(self) -> Kind:
        """The kind, which declares the artifact's files."""
        return KINDS[self.manifest.kind]

    @property
    def version(self) -> str:
        """The artifact's name, which follows from its recipe."""
        return self.manifest.version

    @cached_property
    def content(self) -> str:
        """Digest of the bytes of all files."""
        return self.manifest.content

    @property
    def rows(self) -> int:
        """Rows over all parts."""
        return self.manifest.rows

    @property
    def facts(self) -> Mapping[str, Any]:
        """What all parts share, e.g. the model that made embeddings."""
        return self.manifest.facts

    @property
    def parts(self) -> Sequence[PartRecord]:
        """The parts, in the order of their rows."""
        return self.manifest.parts

    @property
    def only_part(self) -> str:
        """The name of the part of an artifact that has exactly one."""
        assert len(self.parts) == 1, f"{self} has {len(self.parts)} parts"
        return self.parts[0].name

    @cached_property
    def part_names(self) -> Mapping[str, PartRecord]:
        """The parts by name."""
        return {part.name: part for part in self.parts}

    @cached_property
    def starts(self) -> Mapping[str, int]:
        """The first row of each part, counted over all parts."""
        starts, row = {}, 0
        for part in self.parts:
            starts[part.name] = row
            row += part.rows
        return starts

    @cached_property
    def _ends(self) -> Sequence[int]:
        """One more than the last row of each part, counted over all parts."""
        return list(accumulate(part.rows for part in self.parts))

    def locate(self, row: int) -> tuple[str, int]:
        """The part that holds a row, and the row's number within the part; RowError for none."""
        try:
            row = operator.index(row)
        except TypeError as error:
            raise RowError(f"row must be a whole number, got {reprlib.repr(row)}") from error
        if 0 <= row < self.rows:
            number = bisect_right(self._ends, row)
            part = self.parts[number]
            return part.name, row - (self._ends[number] - part.rows)
        raise RowError(f"row must be from 0 to {self.rows - 1}, got {row}")

    def path(
        self,
        part: str,
        role: str,
        *,
        is_read_whole: bool = False,
        columns: Sequence[str] | None = None,
    ) -> Path:
        """The file that plays a role in a part; of a bucket, a copy on this machine.

        StoreError if it is missing, or if `integrity` finds it damaged, which checks more of
        a file that is going to be read whole, and no vectors if only other columns are read.
        """
        file, stored = self._record(part, role), self.place(part, role)
        path = self._backend.local_path(stored, file)
        if path != stored and not is_whole(path, file, is_read_whole=is_read_whole):
            path.unlink(missing_ok=True)  # a copy of what is in a bucket, which is copied again
            path = self._backend.local_path(stored, file)
        require_whole(path, file, is_read_whole=is_read_whole, place=stored)
        require_declared(
            path,
            self.kind.files[role],
            rows=self.part_names[part].rows,
            width=self._widths.get(role),
            ranges=self._ranges.get(role, NO_RANGES),
            has_vectors_read=self._has_vectors(role, columns),
            place=stored,
        )
        return path

    def _has_vectors(self, role: str, columns: Sequence[str] | None) -> bool:
        """Whether there are vectors among some columns of a table, or all of them."""
        spec = self.kind.files[role]
        if columns is None or not isinstance(spec, Table):
            return True
        names = {name for name in columns if isinstance(name, str)}
        return any(column.type == VECTOR and column.name in names for column in spec.columns)

    @cached_property
    def _widths(self) -> Mapping[str, int]:
        """By role of a file of vectors, the numbers in each row."""
        declared = KIND_FACTS[self.kind.name].widths
        return {role: width(self.facts) for role, width in declared.items()}

    def width(self, role: str) -> int:
        """The numbers in each row of a file of vectors."""
        return self._widths[role]

    @cached_property
    def _ranges(self) -> Mapping[str, Mapping[str, Range]]:
        """By role and column, the least and the largest whole number."""
        return KIND_FACTS[self.kind.name].ranges(self.facts, self.rows)

    def place(self, part: str, role: str) -> StorePath:
        """The path in the store of the file of a role in a part; does not access it."""
        return self.folder / PARTS / self._record(part, role).name

    def _record(self, part: str, role: str) -> FileRecord:
        try:
            return self.part_names[part].files[role]
        except (KeyError, TypeError) as error:
            raise MissingError(
                f"{self.kind.name} {self.version} have no file {reprlib.repr(role)} of a part "
                f"{reprlib.repr(part)}: their files are {', '.join(self.kind.files)}"
            ) from error

    def fetch(self, role: str) -> None:
        """Copies a role's files of all parts to this machine if they are missing, in parallel."""
        self._backend.each(lambda part: self.path(part.name, role), self.parts)

    def table(
        self, part: str, role: str = "rows", columns: Sequence[str] | None = None
    ) -> "pa.Table":
        """A Parquet file of a part, or only some columns of it."""
        import pyarrow.parquet as pq

        path = self.path(part, role, is_read_whole=columns is None, columns=columns)
        # pq.read_table would import pyarrow.dataset, which takes 0.1 s.
        with parsing(self.place(part, role)), pq.ParquetFile(path) as file:
            if columns is None:
                return _read_groups(file, None)
            names = file.schema_arrow.names
            for name in columns:
                if not isinstance(name, str) or name not in names:
                    raise MissingError(
                        f"{self.kind.name} {self.version} have no column {reprlib.repr(name)}: "
                        f"their columns are {', '.join(names)}"
                    )
            return _read_groups(file, list(columns)).select(list(columns))

    def column(self, name: str, role: str = "rows") -> list[Any]:
        """A column over all parts as Python values, in row order."""
        return [
            value
            for part in self.parts
            for value in self.table(part.name, role, [name]).column(0).to_pylist()
        ]

    def array(self, part: str, role: str) -> "np.ndarray":
        """A NumPy file of a part, memory-mapped and read-only."""
        path = self.path(part, role)
        with parsing(self.place(part, role)):
            return map_array(path)

    def tensors(self, part: str, role: str) -> "dict[str, np.ndarray]":
        """The tensors of a safetensors file as NumPy arrays."""
        from safetensors.numpy import load_file

        path = self.path(part, role, is_read_whole=True)
        with parsing(self.place(part, role)):
            return load_file(path)

    def embeddings(self, part: str) -> "np.ndarray":
        """The embeddings of a part: float16 (n, d), unit rows, without a copy."""
        import numpy as np

        self.path(part, "rows", is_read_whole=True)
        column = self.table(part, columns=["embedding"]).column(0).combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float16).reshape(-1, column.type.list_size)


def _read_groups(file: "pq.ParquetFile", columns: list[str] | None) -> "pa.Table":
    """A table, one row group after another: Arrow cannot read 2^31 numbers of lists at once."""
    import pyarrow as pa

    if file.metadata.num_row_groups < 2:
        return file.read(columns=columns)
    groups = range(file.metadata.num_row_groups)
    return pa.concat_tables([file.read_row_group(group, columns=columns) for group in groups])


def _read_manifest(path: StorePath) -> Manifest:
    value = backend_of(path).read_json(path)
    fields = value if isinstance(value, Mapping) else {}
    kind = KINDS.get(str(fields.get("kind")))
    if kind is None or fields.get("format") != kind.format:
        known = ", ".join(f"{kind.name} {kind.format}" for kind in KINDS.values())
        raise _format_error(kind, fields.get("format"))(
            f"{path} is of kind {fields.get('kind')!r} in format {fields.get('format')!r}, "
            f"this version of cpp-pipe reads {known}: use the version that wrote it, "
            "or begin another run with --run, which uses again what can be read"
        )
    manifest = Manifest.from_json(value, path)
    if (manifest.kind, manifest.version) != (path.parent.parent.name, path.parent.name):
        raise StoreError(
            f"{path} is that of {manifest.kind}/{manifest.version}: move the folder back, or "
            "remove it and run the same command again"
        )
    return manifest


def _format_error(kind: Kind | None, number: object) -> type[StoreError]:
    """The error for a manifest whose kind or format this version does not read."""
    if kind is None or not isinstance(number, int):
        return StoreError
    return NewerFormatError if number > kind.format else FormatError


@lru_cache(maxsize=16)
def _read_unchanged(path: Path, current: Stamp) -> Manifest:
    """A manifest on a disk, read once as long as its file does not change.

    Reading one of ten thousand parts takes half a second, and a command opens it several times.
    """
    return _read_manifest(path)
