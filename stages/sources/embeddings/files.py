"""Embeddings made elsewhere: `.npz`, `.npy`, folders of them, and clip-retrieval's folders.

Finding them reads only headers; nothing is ever unpickled.
"""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ....store.counting import counted
from ....store.digest import digest_file, digest_json
from ....store.errors import ShardError
from ..array_files import READ_ERRORS
from ..input_kinds import describe, find_kind, flag_for
from ..patterns import natural_key
from ..shards import Shard, part_name, stamp_of
from ..tables.values import plain_column, table_errors
from ..user_files import read_lines
from .columns import FIELD_NAMES, ImportedRows, to_rows
from .vector_file import open_vectors

VECTOR_NAMES = ("x", "embeddings", "embedding", "image_embeddings", "features")
CLASS_NAMES = ("class_name", "class_names")
_PART_NUMBER = re.compile(r"_(\d+)$")


@dataclass(frozen=True, kw_only=True)
class EmbeddingsFile:
    """A file of vectors, with the files and arrays that describe its rows; it becomes one part."""

    path: Path
    rows: int
    size: int
    """Dimensions of a vector."""
    vectors_name: str | None = None
    """The array in an `.npz`; None for an `.npy`."""
    field_names: tuple[str, ...] = ()
    """Arrays of an `.npz` that have one value per row."""
    class_names: str | None = None
    """The array of an `.npz` that names the integer labels."""
    metadata: Path | None = None
    """The Parquet file with one row per vector."""
    keys: Path | None = None
    labels: Path | None = None
    content: str = ""
    """Digest of all bytes, if the edges do not tell this file from an earlier one."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that the part is made from, that of the vectors first."""
        others = (self.metadata, self.keys, self.labels)
        return (self.path, *(path for path in others if path is not None))

    @property
    def identity(self) -> str:
        """Digest, in hex, of the names, sizes and edges of all its files."""
        edges = digest_json([Shard.of(path).identity for path in self.sources])
        return digest_json({"edges": edges, "content": self.content}) if self.content else edges

    def with_content(self, content: str) -> "EmbeddingsFile":
        """The same file with its content in its identity."""
        return replace(self, content=content)

    @property
    def part_name(self) -> str:
        """The name of the part that this file becomes; safe in any file system."""
        return part_name(self.path.stem, self.identity)

    @property
    def stamp(self) -> str:
        """See `Source.stamp`."""
        try:
            return stamp_of([path.stat().st_mtime_ns for path in self.sources])
        except OSError as error:
            raise ShardError(f"{self.path} cannot be read: {error.strerror}") from error

    def sha256(self) -> str:
        """Digest, in hex, of all bytes of all its files."""
        return digest_json([digest_file(path) for path in self.sources])

    def load(self) -> ImportedRows:
        """All rows, normalised, with their columns; ShardError if a file is damaged."""
        fields: dict[str, Any] = {}
        names: list[Any] = []
        try:
            if self.vectors_name is None:
                vectors = open_vectors(self.path)
            else:
                with np.load(self.path, allow_pickle=False) as arrays:
                    vectors = arrays[self.vectors_name]
                    fields = {name: arrays[name].tolist() for name in self.field_names}
                    if self.class_names is not None:
                        names = arrays[self.class_names].tolist()
        except READ_ERRORS as error:
            raise ShardError(f"{self.path} is damaged: {error}") from error
        if self.class_names is not None:
            _name_labels(fields, self.class_names, names)
        return to_rows(vectors, fields | self._other_fields())

    def _other_fields(self) -> dict[str, Sequence[Any]]:
        """The fields in files other than that of the vectors."""
        fields: dict[str, Sequence[Any]] = {}
        if self.metadata is not None:
            import pyarrow.parquet as pq

            try:
                table = pq.ParquetFile(self.metadata).read()
                fields |= {
                    name: plain_column(column)
                    for name, column in zip(table.column_names, table.columns, strict=True)
                }
            except table_errors() as error:
                raise ShardError(f"{self.metadata} is damaged: {error}") from error
        if self.keys is not None:
            fields["key"] = _read_column(self.keys)
        if self.labels is not None:
            fields["label"] = _read_column(self.labels)
        return fields


def find_embeddings(
    path: Path, *, keys: Path | None = None, labels: Path | None = None
) -> list[EmbeddingsFile]:
    """The files of embeddings at a path, or in a folder in natural order.

    `keys` and `labels` are files of one value per row, an `.npy` or text with a value per line, for
    a single file of vectors without its own. ShardError for anything but embeddings, if row counts
    differ between files, and if vectors differ in size.
    """
    if not path.exists():
        raise ShardError(f"{path} does not exist: name an .npz, an .npy or a folder of them")
    files = _find_in_folder(path) if path.is_dir() else [_open_file(path)]
    if not any(file.rows for file in files):
        raise ShardError(f"{path} holds no rows")
    odd = next((file for file in files if file.size != files[0].size), None)
    if odd is not None:
        raise ShardError(
            f"{files[0].path} has vectors of {counted(files[0].size, 'number')}, {odd.path} of "
            f"{odd.size}: "
            "import the embeddings of one model at a time"
        )
    if (keys or labels) and len(files) > 1:
        raise ShardError(
            f"{path} holds {counted(len(files), 'file')} of vectors, and keys and labels fit only "
            "one: name one file"
        )
    return [_with_columns(files[0], keys, labels)] if keys or labels else files


def _with_columns(
    embeddings: EmbeddingsFile, keys: Path | None, labels: Path | None
) -> EmbeddingsFile:
    """The file with its files of keys and labels; ShardError if they do not fit it."""
    for column, file in (("key", keys), ("label", labels)):
        if file is None:
            continue
        own_names = {name.lower() for name in embeddings.field_names} & set(FIELD_NAMES[column])
        if own_names or embeddings.metadata is not None:
            raise ShardError(f"{embeddings.path} has its own {column} column: leave out {file}")
        _require_rows(embeddings, file, len(_read_column(file)))
    return replace(embeddings, keys=keys, labels=labels)


def _find_in_folder(folder: Path) -> list[EmbeddingsFile]:
    if folder.name == "img_emb":
        folder = folder.parent
    if (folder / "img_emb").is_dir():
        return _find_clip_retrieval(folder)
    by_suffix = {
        suffix: [path for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")]
        for suffix in (".npz", ".npy")
    }
    if by_suffix[".npz"] and by_suffix[".npy"]:
        raise ShardError(f"{folder} holds .npz and .npy files: name a single file")
    files = by_suffix[".npz"] or by_suffix[".npy"]
    if files:
        return [_open_file(path) for path in sorted(files, key=lambda p: natural_key(p.name))]
    kind = find_kind(folder)
    if kind not in (None, "embeddings"):
        raise ShardError(
            f"{folder} {describe(kind, folder)}, not embeddings: use cpp-pipe embed "
            f"{flag_for(kind, folder)}"
        )
    raise ShardError(f"{folder} holds no .npz, no .npy and no img_emb folder of clip-retrieval")


def _find_clip_retrieval(folder: Path) -> list[EmbeddingsFile]:
    """Each `img_emb/img_emb_N.npy` with `metadata/metadata_N.parquet`; zero-padding may differ."""
    vectors = sorted((folder / "img_emb").glob("*.npy"), key=lambda path: natural_key(path.name))
    if not vectors:
        raise ShardError(f"{folder / 'img_emb'} holds no .npy file")
    tables = {_number(path): path for path in (folder / "metadata").glob("*.parquet")}
    files: list[EmbeddingsFile] = []
    for path in vectors:
        file = _open_file(path)
        if tables:
            table = tables.get(_number(path))
            if table is None:
                raise ShardError(
                    f"{path} has no table in {folder / 'metadata'}, although others have one: "
                    "restore it, or move the file of vectors away"
                )
            _require_rows(file, table, _parquet_rows(table))
            file = replace(file, metadata=table)
        files.append(file)
    return files


def _number(path: Path) -> int | None:
    match = _PART_NUMBER.search(path.stem)
    return int(match[1]) if match else None


def _require_rows(file: EmbeddingsFile, other: Path, rows: int) -> None:
    if rows != file.rows:
        raise ShardError(
            f"{file.path} has {counted(file.rows, 'row')} and {other} has {rows}: they do not "
            "belong together"
        )


def _parquet_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).metadata.num_rows
    except table_errors() as error:
        raise ShardError(f"{path} cannot be read as Parquet: {error}") from error


def _open_file(path: Path) -> EmbeddingsFile:
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if start.startswith(b"\x93NUMPY"):
                shape, dtype = _read_header(file, path.name)
                _require_vectors(path, path.name, shape, dtype)
                return EmbeddingsFile(path=path, rows=shape[0], size=shape[1])
            if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                return _open_npz(path)
    except READ_ERRORS as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(f"{path} cannot be read as embeddings: {error}") from error
    if start[257:262] == b"ustar":
        raise ShardError(
            f"{path} is a tar shard, not embeddings: use cpp-pipe embed --shards '{path}'"
        )
    kind = find_kind(path)
    if kind not in (None, "embeddings"):
        raise ShardError(
            f"{path} {describe(kind, path)}, not embeddings: use cpp-pipe embed "
            f"{flag_for(kind, path)}"
        )
    raise ShardError(
        f"{path} is neither an .npz nor an .npy (it starts with {start[:8]!r}): save the vectors "
        "with numpy.save"
    )


def _open_npz(path: Path) -> EmbeddingsFile:
    """Finds the arrays of an `.npz` that hold vectors, fields, and the names of labels."""
    headers: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            if entry.endswith(".npy"):
                with archive.open(entry) as file:
                    headers[entry.removesuffix(".npy")] = _read_header(file, f"{path}: {entry}")
    candidates = [name for name in headers if name.lower() in VECTOR_NAMES]
    if len(candidates) != 1:
        arrays = ", ".join(f"{name} {shape}" for name, (shape, _) in headers.items()) or "nothing"
        raise ShardError(
            f"{path} holds {arrays}: exactly one array must be named {', '.join(VECTOR_NAMES[:-1])}"
            f" or {VECTOR_NAMES[-1]}"
        )
    (vectors_name,) = candidates
    shape, dtype = headers.pop(vectors_name)
    _require_vectors(path, vectors_name, shape, dtype)
    fields = tuple(name for name, (other, _) in headers.items() if other == shape[:1])
    row_names = {alias for aliases in FIELD_NAMES.values() for alias in aliases}
    for name, (other, _) in headers.items():
        if name.lower() in row_names and name not in fields:
            raise ShardError(
                f"{path} has {counted(shape[0], 'row')} in {vectors_name} but {other} in {name}"
            )
    class_names = [
        name
        for name, (other, _) in headers.items()
        if name.lower() in CLASS_NAMES and name not in fields and len(other) == 1
    ]
    return EmbeddingsFile(
        path=path,
        rows=shape[0],
        size=shape[1],
        vectors_name=vectors_name,
        field_names=fields,
        class_names=class_names[0] if class_names else None,
    )


def _read_header(file: IO[bytes], label: str) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type of an array, without its values."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ShardError(f"{label} is an .npy of version {version}: save it as a plain array")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ShardError(
            f"{label} holds Python objects, which are not unpickled: save it as "
            "np.asarray(values, dtype=np.float32) or, for text, dtype=str"
        )
    return shape, dtype


def _require_vectors(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 2 or shape[1] == 0 or dtype.kind != "f":
        raise ShardError(
            f"{name} in {path} is {dtype} of shape {shape}: embeddings must be floats of shape "
            "(rows, size)"
        )


def _read_column(path: Path) -> list[Any]:
    """One value per row, from an `.npy` or the lines of a text file."""
    try:
        if path.suffix.lower() != ".npy":
            return read_lines(path)
        values = np.load(path, allow_pickle=False)
    except READ_ERRORS as error:
        raise ShardError(f"{path} cannot be read as one value per row: {error}") from error
    if values.ndim != 1:
        raise ShardError(f"{path} has shape {values.shape}: it must hold one value per row")
    return values.tolist()


def _name_labels(fields: dict[str, Any], column: str, names: Sequence[Any]) -> None:
    """Adds the name of each row's integer label, which goes to `extra`."""
    label = next((name for name in fields if name.lower() in FIELD_NAMES["label"]), None)
    labels: Sequence[Any] = fields[label] if label is not None else ()
    if labels and all(isinstance(value, int) and 0 <= value < len(names) for value in labels):
        fields[column] = [names[value] for value in labels]
