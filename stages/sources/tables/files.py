"""Parquet tables as sources of samples: their pictures as bytes, or as paths of local files."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from ....store.digest import digest_file, digest_json
from ....store.errors import MissingError
from ..embeddings.columns import plain_value
from ..faults import Fault
from ..fields import SampleFields, clean_text, take_columns, to_json
from ..images.files import PictureFile, glimpse_all
from ..images.pixels import UndecodableImage
from ..shards import Shard, is_remote, part_name, require_unchanged, stamp
from .columns import TableColumns, sniff_columns
from .reader import TableRows, column_values, open_table

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A Parquet file with a picture a row; it becomes one part."""

    path: Path
    size: int
    columns: TableColumns
    identity: str
    """Digest, in hex, of the file's name, size and edges, and of those of the files it names."""

    @classmethod
    def of(cls, path: Path, image_column: str = "") -> "TableFile":
        """The table at `path`; ShardError if it cannot be read, ConfigError if it has no pictures.

        Where its pictures are files, the first and last 4 KiB of each are read.
        """
        with open_table(path) as file:
            columns = sniff_columns(file.schema_arrow, image_column, path)
            named = [_local(path, one) for one in _paths(file, path, columns)]
        shard = Shard.of(path)
        told: dict[str, Any] = {"table": shard.identity, "image": columns.image}
        if named:
            glimpses = iter(glimpse_all(str(one) for one in named if one is not None))
            told["files"] = [None if one is None else next(glimpses) for one in named]
        return cls(path=path, size=shard.size, columns=columns, identity=digest_json(told))

    @property
    def name(self) -> str:
        """What stands in the column `shard`."""
        return self.path.name

    @property
    def part_name(self) -> str:
        """The name of the part: safe in any file system."""
        return part_name(self.path.stem, self.identity)

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator["TableSamples"]:
        """Its rows, each picture read when it is asked for; ShardError where it changes."""
        before = stamp(self.path)
        with open_table(self.path) as file:
            yield TableSamples(self.path, file, self.columns)
        require_unchanged(self.path, stamp(self.path) == before)


class TableEntry:
    """One row of a table that is open."""

    offset = None

    def __init__(self, key: str, row: int, table: "TableSamples") -> None:
        self.key = key
        self.size: int | None = None
        self.sha256: str | None = None
        """Of a file that the row names, once it was read."""
        self._row = row
        self._table = table

    def read_image(self) -> bytes:
        """The bytes in the row, or in the file that it names."""
        columns = self._table.columns
        value = self._table.images.row(self._row)[columns.image]
        encoded, self.sha256 = _encoded(value, self._table.path)
        self.size = len(encoded)
        return encoded

    def fields(self) -> SampleFields:
        """What the other columns say."""
        columns = self._table.columns
        row = self._table.others.row(self._row)
        values = {name: plain_value(row[name]) for name in columns.fields}
        values = {name: one for name, one in values.items() if one is not None}
        for name in [one for one in values if one.lower() == "label"]:
            label = values[name]
            # pandas makes floats of whole numbers where some are missing.
            if isinstance(label, float) and label.is_integer():
                label = values[name] = int(label)
            if isinstance(label, int) and 0 <= label < len(columns.class_names):
                values.setdefault("label_name", columns.class_names[label])
        told = take_columns(values, {})
        return SampleFields(**told, extra=to_json(values))


class TableSamples:
    """The rows of a table that is open."""

    complete = True
    why_cut: str | None = None

    def __init__(self, path: Path, file: "pq.ParquetFile", columns: TableColumns) -> None:
        self.path, self.columns = path, columns
        self.images = TableRows(file, path, [columns.image])
        self.others = TableRows(file, path, columns.fields)
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
        """SHA-256, in hex, of the file, or of it and of the files that it names."""
        own = digest_file(self.path)
        named = [one.sha256 for one in self.samples]
        return digest_json([own, named]) if any(named) else own


def read_table_picture(path: Path, image_column: str, key: str) -> bytes:
    """The encoded picture of the row of this key; MissingError where the table has none."""
    with open_table(path) as file:
        columns = sniff_columns(file.schema_arrow, image_column, path)
        row = next((n for n, one in enumerate(_keys(file, path, columns)) if one == key), None)
        if row is None:
            raise MissingError(f"the table {path} has no row {key!r} any more: embed it again")
        value = TableRows(file, path, [columns.image]).row(row)[columns.image]
        return _encoded(value, path)[0]


def _keys(file: "pq.ParquetFile", path: Path, columns: TableColumns) -> Iterator[str]:
    """The key of each row: its own, else its number, padded with zeros to one width."""
    rows = file.metadata.num_rows
    digits = len(str(max(rows - 1, 0)))
    if columns.key is None:
        yield from (f"{row:0{digits}d}" for row in range(rows))
        return
    for row, value in enumerate(column_values(file, path, columns.key)):
        text = "" if value is None else clean_text(str(plain_value(value)))
        yield text or f"{row:0{digits}d}"


def _paths(file: "pq.ParquetFile", path: Path, columns: TableColumns) -> Iterator[str | None]:
    """The path in each row where pictures, or some of them, are files; else nothing."""
    if columns.how == "bytes" or (columns.how == "struct" and not _lacks_bytes(file, columns)):
        return
    leaf = columns.image if columns.how == "path" else f"{columns.image}.path"
    for value in column_values(file, path, leaf):
        yield value["path"] if isinstance(value, dict) else value


def _lacks_bytes(file: "pq.ParquetFile", columns: TableColumns) -> bool:
    """Whether some rows of a struct may have a path alone, by what the file tells of itself."""
    if file.schema_arrow.field(columns.image).type.get_field_index("path") < 0:
        return False
    names = [file.schema.column(at).path for at in range(len(file.schema))]
    at = names.index(f"{columns.image}.bytes")
    groups = range(file.metadata.num_row_groups)
    told = [file.metadata.row_group(group).column(at).statistics for group in groups]
    return any(one is None or not one.has_null_count or one.null_count > 0 for one in told)


def _encoded(value: Any, table: Path) -> tuple[bytes, str | None]:
    """The picture that a cell holds or names, and in the latter case its digest."""
    if isinstance(value, Mapping):
        value = value["bytes"] if value["bytes"] is not None else value.get("path")
    if value is None or value == "":
        raise UndecodableImage("no_image", "the row has no picture")
    if isinstance(value, bytes):
        return value, None
    local = _local(table, value)
    if local is None:
        raise UndecodableImage("remote", value[:200])
    file = PictureFile(local)
    return file.read(), file.sha256


def _local(table: Path, path: str | None) -> Path | None:
    """The file that a table names, looked for from its folder; None for what is elsewhere."""
    if not path:
        return None
    if path.lower().startswith("file://"):
        return Path(unquote(urlparse(path).path))
    return None if is_remote(path) else table.parent / os.path.expanduser(path)
