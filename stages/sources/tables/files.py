"""Parquet tables as sources of samples: their images as bytes, or as paths of local files."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from ....store.digest import digest_file, digest_json
from ....store.errors import MissingError
from ..faults import Fault
from ..fields import SampleFields, clean_text, plain_value, take_columns, to_json, whole_number
from ..images.files import ImageFile, fingerprint_files
from ..images.pixels import UndecodableImage
from ..patterns import is_remote
from ..shards import Shard, part_name, require_unchanged, stamp, stamp_of
from .columns import TableColumns, find_columns
from .reader import TableReader, column_values, open_table

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A Parquet file with one image per row; it becomes one part."""

    path: Path
    size: int
    columns: TableColumns
    identity: str
    """Digest, in hex, of the name, size and edges of the file, and of the files it names."""
    edges: str = field(default="", compare=False)
    """The identity without any content: see `with_content`."""
    unread: frozenset[str] = field(default=frozenset(), compare=False)
    """Files that it names and that could not be read when listed; part of the identity."""
    stamp: str = field(default="", compare=False)
    """See `Source.stamp`."""

    @classmethod
    def of(
        cls, path: Path, image_column: str = "", *, unread: frozenset[str] = frozenset()
    ) -> "TableFile":
        """The table at `path`; ShardError if it cannot be read, ConfigError if it has no images.

        If its images are files, reads the first and last 4 KiB of each, except for `unread`, which
        count as files that cannot be read.
        """
        with open_table(path) as file:
            columns = find_columns(file.schema_arrow, image_column, path)
            files = [_local(path, named) for named in _paths(file, path, columns)]
        named = [str(file) for file in files if file is not None]
        shard = Shard.of(path)
        identity: dict[str, Any] = {"table": shard.identity, "image": columns.image}
        times_ns = [path.stat().st_mtime_ns]
        found = iter(fingerprint_files(name for name in named if name not in unread))
        fingerprinted = [(None, 0) if name in unread else next(found) for name in named]
        if files:
            fingerprints = iter(fingerprinted)
            identity["files"] = [None if file is None else next(fingerprints)[0] for file in files]
            times_ns += [time_ns for _, time_ns in fingerprinted]
        edges = digest_json(identity)
        return cls(
            path=path,
            size=shard.size,
            columns=columns,
            identity=edges,
            edges=edges,
            unread=frozenset(
                name
                for name, (fingerprint, _) in zip(named, fingerprinted, strict=True)
                if not fingerprint
            ),
            stamp=stamp_of(times_ns),
        )

    def count_samples(self) -> int:
        """The number of its rows."""
        with open_table(self.path) as file:
            return file.metadata.num_rows

    def with_content(self, content: str) -> "TableFile":
        """The same table with its content in its identity."""
        return replace(self, identity=digest_json({"edges": self.identity, "content": content}))

    @property
    def name(self) -> str:
        """The value of the column `shard`."""
        return self.path.name

    @property
    def part_name(self) -> str:
        """The name of the part; safe in any file system."""
        return part_name(self.path.stem, self.identity)

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator["TableSamples"]:
        """Opens its rows, each image read on request.

        ShardError if the file changes, or if a file that it names could be read when it was listed,
        but not now. So is any of these files that was changed since then, if all images were read.
        """
        before = stamp(self.path)
        with open_table(self.path) as file:
            used = {self.columns.image, self.columns.key, *self.columns.fields} - {None}
            require_unchanged(self.path, used.issubset(file.schema_arrow.names))
            opened = TableSamples(self.path, file, self.columns, self.unread)
            yield opened
        require_unchanged(self.path, stamp(self.path) == before and self._is_unchanged(opened))

    def _is_unchanged(self, opened: "TableSamples") -> bool:
        """Whether all that was read is what was listed; True if some images were not read."""
        if not all(entry.was_read for entry in opened.samples):
            return True
        return self.of(self.path, self.columns.image, unread=self.unread).edges == self.edges


class TableEntry:
    """One row of an open table."""

    offset = None

    def __init__(self, key: str, row: int, table: "TableSamples") -> None:
        self.key = key
        self.size: int | None = None
        self.sha256: str | None = None
        """Digest of the file that the row names, once it is read."""
        self.was_read = False
        """Whether its image was read, or there is none."""
        self._row = row
        self._table = table

    def read_image(self) -> bytes:
        """The image in the row, or in the file that the row names."""
        columns = self._table.columns
        value = self._table.images.row(self._row)[columns.image]
        try:
            encoded, self.sha256 = _encoded(value, self._table.path, self._table.unread)
        except UndecodableImage:
            self.was_read = True
            raise
        self.size, self.was_read = len(encoded), True
        return encoded

    def fields(self) -> SampleFields:
        """The fields in the other columns."""
        columns = self._table.columns
        row = self._table.others.row(self._row)
        values = {name: plain_value(row[name]) for name in columns.fields}
        values = {name: value for name, value in values.items() if value is not None}
        for name in [name for name in values if name.lower() == "label"]:
            label = values[name] = whole_number(values[name])
            if isinstance(label, int) and 0 <= label < len(columns.class_names):
                values.setdefault("label_name", columns.class_names[label])
        texts = take_columns(values, {})
        return SampleFields(**texts, extra=to_json(values))


class TableSamples:
    """The rows of an open table."""

    complete = True
    why_cut: str | None = None

    def __init__(
        self, path: Path, file: "pq.ParquetFile", columns: TableColumns, unread: frozenset[str]
    ) -> None:
        self.path, self.columns, self.unread = path, columns, unread
        self.images = TableReader(file, path, [columns.image])
        self.others = TableReader(file, path, columns.fields)
        self.suffixes: Counter[str] = Counter()
        self.facts: Mapping[str, Any] = {"source": "table", "image_column": columns.image}
        samples: list[TableEntry] = []
        faults: list[Fault] = []
        seen: set[str] = set()
        for row, key in enumerate(_keys(file, path, columns)):
            if key in seen:
                detail = f"row {row} has the key of a row above"
                faults.append(Fault(key=key, offset=None, reason="duplicate_key", detail=detail))
            else:
                seen.add(key)
                samples.append(TableEntry(key, row, self))
        self.samples, self.faults = tuple(samples), tuple(faults)

    def sha256(self) -> str:
        """SHA-256, in hex, of the table, or of the table and the files that it names."""
        table = digest_file(self.path)
        files = [entry.sha256 for entry in self.samples]
        return digest_json([table, files]) if any(files) else table


def read_table_image(path: Path, image_column: str, key: str) -> bytes:
    """The encoded image of the row with this key; MissingError if the table has none."""
    with open_table(path) as file:
        columns = find_columns(file.schema_arrow, image_column, path)
        keys = enumerate(_keys(file, path, columns))
        row = next((row for row, row_key in keys if row_key == key), None)
        if row is None:
            raise MissingError(f"the table {path} no longer has a row {key!r}: embed it again")
        value = TableReader(file, path, [columns.image]).row(row)[columns.image]
        return _encoded(value, path)[0]


def _keys(file: "pq.ParquetFile", path: Path, columns: TableColumns) -> Iterator[str]:
    """The key of each row: its own, else its number, zero-padded to one width."""
    rows = file.metadata.num_rows
    digits = len(str(max(rows - 1, 0)))
    if columns.key is None:
        yield from (f"{row:0{digits}d}" for row in range(rows))
        return
    for row, value in enumerate(column_values(file, path, columns.key)):
        value = plain_value(value)  # None for NaN
        text = "" if value is None else clean_text(str(value))
        yield text or f"{row:0{digits}d}"


def _paths(file: "pq.ParquetFile", path: Path, columns: TableColumns) -> Iterator[str | None]:
    """The path in each row, if any images are files; else nothing."""
    form = columns.image_form
    if form == "bytes" or (form == "struct" and not _lacks_bytes(file, columns)):
        return
    leaf = columns.image if form == "path" else f"{columns.image}.path"
    for value in column_values(file, path, leaf):
        yield value["path"] if isinstance(value, dict) else value


def _lacks_bytes(file: "pq.ParquetFile", columns: TableColumns) -> bool:
    """Whether some rows of a struct may have only a path, according to the file's statistics."""
    if file.schema_arrow.field(columns.image).type.get_field_index("path") < 0:
        return False
    names = [file.schema.column(index).path for index in range(len(file.schema))]
    index = names.index(f"{columns.image}.bytes")
    groups = range(file.metadata.num_row_groups)
    statistics = [file.metadata.row_group(group).column(index).statistics for group in groups]
    return any(
        group is None or not group.has_null_count or group.null_count > 0 for group in statistics
    )


def _encoded(
    value: Any, table: Path, unread: frozenset[str] | None = None
) -> tuple[bytes, str | None]:
    """The image that a cell holds or names, and, if it names a file, that file's digest.

    `unread` are the named files that could not be read when the table was listed, if it was.
    """
    if isinstance(value, Mapping):
        value = value["bytes"] if value["bytes"] is not None else value.get("path")
    if value is None or value == "":
        raise UndecodableImage("no_image", "the row has no picture")  # stored: must not change
    if isinstance(value, bytes):
        return value, None
    local = _local(table, value)
    if local is None:
        raise UndecodableImage("remote", value[:200])
    file = ImageFile(local, was_readable=unread is not None and str(local) not in unread)
    return file.read(), file.sha256


def _local(table: Path, path: str | None) -> Path | None:
    """The local file at a path in a table, relative to its folder; None for an address."""
    if not path:
        return None
    if path.lower().startswith("file://"):
        return Path(unquote(urlparse(path).path))
    return None if is_remote(path) else table.parent / os.path.expanduser(path)
