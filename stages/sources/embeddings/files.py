"""Embeddings made elsewhere: `.npz`, `.npy`, folders of them, and clip-retrieval's folders.

Only headers are read to tell what a path holds; nothing is ever unpickled.
"""

import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ....store.digest import digest_json
from ....store.errors import ShardError
from ..input_kinds import describe, find_kind, flag_for
from ..shards import Shard, natural_key, part_name
from .columns import FIELD_NAMES, ImportedRows, to_rows

if TYPE_CHECKING:
    import numpy as np

VECTOR_NAMES = ("x", "embeddings", "embedding", "image_embeddings", "features")
CLASS_NAMES = ("class_name", "class_names")
# What numpy and zipfile let out on damaged files, found by reading and by fuzzing.
_READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)
_PART_NUMBER = re.compile(r"_(\d+)$")


@dataclass(frozen=True, kw_only=True)
class ImportPart:
    """A file of vectors with what belongs to its rows; it becomes one part."""

    path: Path
    rows: int
    size: int
    """Numbers in a vector."""
    vectors_name: str | None = None
    """The array in an `.npz`; None for an `.npy`."""
    field_names: tuple[str, ...] = ()
    """Arrays of an `.npz` that have one value a row."""
    class_names: str | None = None
    """The array of an `.npz` that names the integer labels."""
    ignored: tuple[str, ...] = ()
    """Arrays of an `.npz` that belong to no row."""
    metadata: Path | None = None
    """The Parquet file with one row a vector."""
    keys: Path | None = None
    labels: Path | None = None

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that the part is made of, that of the vectors first."""
        beside = (self.metadata, self.keys, self.labels)
        return (self.path, *(path for path in beside if path is not None))

    @property
    def identity(self) -> str:
        """Digest, in hex, of the names, sizes and edges of all its files."""
        return digest_json([Shard.of(path).identity for path in self.sources])

    @property
    def part_name(self) -> str:
        """The name of the part that this file becomes: safe in any file system."""
        return part_name(self.path.stem, self.identity)

    def load(self) -> ImportedRows:
        """All rows, normalised, with their columns; ShardError where a file is not whole."""
        import numpy as np

        fields: dict[str, Any] = {}
        names: list[Any] = []
        try:
            if self.vectors_name is None:
                vectors = np.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                with np.load(self.path, allow_pickle=False) as arrays:
                    vectors = arrays[self.vectors_name]
                    fields = {name: arrays[name].tolist() for name in self.field_names}
                    if self.class_names is not None:
                        names = arrays[self.class_names].tolist()
        except _READ_ERRORS as error:
            raise ShardError(f"{self.path} is not whole: {error}") from error
        if self.class_names is not None:
            _name_labels(fields, self.class_names, names)
        return to_rows(vectors, fields | self._fields_beside())

    def _fields_beside(self) -> dict[str, Sequence[Any]]:
        """The fields that stand in other files than the vectors."""
        fields: dict[str, Sequence[Any]] = {}
        if self.metadata is not None:
            import pyarrow as pa
            import pyarrow.parquet as pq

            try:
                fields |= pq.ParquetFile(self.metadata).read().to_pydict()
            except (pa.ArrowException, OSError) as error:
                raise ShardError(f"{self.metadata} is not whole: {error}") from error
        if self.keys is not None:
            fields["key"] = _read_column(self.keys)
        if self.labels is not None:
            fields["label"] = _read_column(self.labels)
        return fields


def sniff(path: Path, *, keys: Path | None = None, labels: Path | None = None) -> list[ImportPart]:
    """The parts in a file or a folder of embeddings, in natural order.

    `keys` and `labels` are files of one value a row, `.npy` or text with a value a line, for one
    file of vectors that brings none itself. Raises ShardError for anything else than embeddings,
    for row counts that differ between files, and for vectors of different sizes.
    """
    if not path.exists():
        raise ShardError(f"there is no {path}: name an .npz, an .npy or a folder of them")
    parts = _sniff_folder(path) if path.is_dir() else [_sniff_file(path)]
    if not any(part.rows for part in parts):
        raise ShardError(f"{path} holds no rows")
    odd = next((part for part in parts if part.size != parts[0].size), None)
    if odd is not None:
        raise ShardError(
            f"{parts[0].path} has vectors of {parts[0].size} numbers, {odd.path} of {odd.size}: "
            "import what one model made"
        )
    if (keys or labels) and len(parts) > 1:
        raise ShardError(f"{path} holds {len(parts)} files of vectors: keys and labels fit one")
    return [_with_columns(parts[0], keys, labels)] if keys or labels else parts


def _with_columns(part: ImportPart, keys: Path | None, labels: Path | None) -> ImportPart:
    """The part with files of keys and labels, once they are known to fit."""
    for column, file in (("key", keys), ("label", labels)):
        if file is None:
            continue
        own = {name.lower() for name in part.field_names} & set(FIELD_NAMES[column])
        if own or part.metadata is not None:
            raise ShardError(f"{part.path} has its own {column} column: leave out {file}")
        _require_rows(part, file, len(_read_column(file)))
    return replace(part, keys=keys, labels=labels)


def _sniff_folder(folder: Path) -> list[ImportPart]:
    if folder.name == "img_emb":
        folder = folder.parent
    if (folder / "img_emb").is_dir():
        return _sniff_clip_retrieval(folder)
    by_suffix = {
        suffix: [path for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")]
        for suffix in (".npz", ".npy")
    }
    if by_suffix[".npz"] and by_suffix[".npy"]:
        raise ShardError(f"{folder} holds .npz and .npy files: name one of them")
    files = by_suffix[".npz"] or by_suffix[".npy"]
    if files:
        return [_sniff_file(path) for path in sorted(files, key=lambda p: natural_key(p.name))]
    kind = find_kind(folder)
    if kind not in (None, "embeddings"):
        raise ShardError(
            f"{folder} {describe(kind, folder)}, not embeddings: use cpp-pipe embed "
            f"{flag_for(kind, folder)}"
        )
    raise ShardError(f"{folder} holds no .npz, no .npy and no img_emb folder of clip-retrieval")


def _sniff_clip_retrieval(folder: Path) -> list[ImportPart]:
    """`img_emb/img_emb_N.npy`, each with `metadata/metadata_N.parquet`; padding may differ."""
    vectors = sorted((folder / "img_emb").glob("*.npy"), key=lambda path: natural_key(path.name))
    if not vectors:
        raise ShardError(f"{folder / 'img_emb'} holds no .npy file")
    tables = {_number(path): path for path in (folder / "metadata").glob("*.parquet")}
    parts: list[ImportPart] = []
    for path in vectors:
        part = _sniff_file(path)
        if tables:
            table = tables.get(_number(path))
            if table is None:
                raise ShardError(
                    f"{path} has no table in {folder / 'metadata'}, though others have: restore "
                    "it, or move the file of vectors away"
                )
            _require_rows(part, table, _parquet_rows(table))
            part = replace(part, metadata=table)
        parts.append(part)
    return parts


def _number(path: Path) -> int | None:
    match = _PART_NUMBER.search(path.stem)
    return int(match[1]) if match else None


def _require_rows(part: ImportPart, other: Path, rows: int) -> None:
    if rows != part.rows:
        raise ShardError(
            f"{part.path} has {part.rows} rows and {other} has {rows}: they do not belong together"
        )


def _parquet_rows(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path} is not the Parquet file it should be: {error}") from error


def _sniff_file(path: Path) -> ImportPart:
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if start.startswith(b"\x93NUMPY"):
                shape, dtype = _read_header(file, path.name)
                _require_vectors(path, path.name, shape, dtype)
                return ImportPart(path=path, rows=shape[0], size=shape[1])
            if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                return _sniff_npz(path)
    except _READ_ERRORS as error:
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


def _sniff_npz(path: Path) -> ImportPart:
    """Which arrays of an `.npz` are the vectors, their fields, and the names of the labels."""
    headers: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            if entry.endswith(".npy"):
                with archive.open(entry) as file:
                    headers[entry.removesuffix(".npy")] = _read_header(file, f"{path}: {entry}")
    named = [name for name in headers if name.lower() in VECTOR_NAMES]
    if len(named) != 1:
        arrays = ", ".join(f"{name} {shape}" for name, (shape, _) in headers.items()) or "nothing"
        raise ShardError(
            f"{path} holds {arrays}: exactly one array must be named {', '.join(VECTOR_NAMES[:-1])}"
            f" or {VECTOR_NAMES[-1]}"
        )
    shape, dtype = headers.pop(named[0])
    _require_vectors(path, named[0], shape, dtype)
    fields = tuple(name for name, (other, _) in headers.items() if other == shape[:1])
    of_rows = {alias for aliases in FIELD_NAMES.values() for alias in aliases}
    for name, (other, _) in headers.items():
        if name.lower() in of_rows and name not in fields:
            raise ShardError(f"{path} has {shape[0]} rows in {named[0]} but {other} in {name}")
    names = [
        name
        for name, (other, _) in headers.items()
        if name.lower() in CLASS_NAMES and name not in fields and len(other) == 1
    ]
    return ImportPart(
        path=path,
        rows=shape[0],
        size=shape[1],
        vectors_name=named[0],
        field_names=fields,
        class_names=names[0] if names else None,
        ignored=tuple(name for name in headers if name not in (*fields, *names)),
    )


def _read_header(file: IO[bytes], where: str) -> "tuple[tuple[int, ...], np.dtype]":
    """The shape and the type of an array, without its values."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ShardError(f"{where} is an .npy of version {version}: save a plain array")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ShardError(
            f"{where} holds Python objects, which are not unpickled: save it as "
            "np.asarray(values, dtype=np.float32) or, for text, dtype=str"
        )
    return shape, dtype


def _require_vectors(path: Path, name: str, shape: tuple[int, ...], dtype: "np.dtype") -> None:
    if len(shape) != 2 or shape[1] == 0 or dtype.kind != "f":
        raise ShardError(
            f"{name} in {path} is {dtype} of shape {shape}: embeddings are floats of shape "
            "(rows, size)"
        )


def _read_column(path: Path) -> list[Any]:
    """One value a row, from an `.npy` or the lines of a text file."""
    import numpy as np

    try:
        if path.suffix.lower() != ".npy":
            return path.read_text(encoding="utf-8").splitlines()
        values = np.load(path, allow_pickle=False)
    except _READ_ERRORS as error:
        raise ShardError(f"{path} cannot be read as one value a row: {error}") from error
    if values.ndim != 1:
        raise ShardError(f"{path} has shape {values.shape}: one value a row is expected")
    return values.tolist()


def _name_labels(fields: dict[str, Any], column: str, names: Sequence[Any]) -> None:
    """Adds the name of each row's integer label, to stand in `extra` beside the label."""
    label = next((name for name in fields if name.lower() in FIELD_NAMES["label"]), None)
    labels: Sequence[Any] = fields[label] if label is not None else ()
    if labels and all(isinstance(value, int) and 0 <= value < len(names) for value in labels):
        fields[column] = [names[value] for value in labels]
