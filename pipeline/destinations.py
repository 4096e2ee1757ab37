"""The files and folders that a command writes for the user: checked before any work.

The suffix of a file is its format; a command refuses formats that it does not write.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..store import ConfigError
from ..store.names import is_plain_name
from ..store.paths import resolved

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET = (".parquet", ".pq")
PAGE = (".html", ".htm")

SHEET: Mapping[str, str] = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".pdf": "PDF",
}  # fmt: skip
"""Suffixes of a contact sheet, and what Pillow calls each format."""

_FILE_SUFFIXES = {
    *PARQUET, *PAGE, ".arrow", ".bmp", ".csv", ".gif", ".gz", ".jpeg", ".jpg", ".json", ".jsonl",
    ".npy", ".npz", ".pdf", ".png", ".svg", ".tar", ".tif", ".tiff", ".tsv", ".txt", ".webp",
    ".xlsx", ".zip",
}  # fmt: skip
"""Suffixes that the name of a folder must not have: a user who writes one expects a file."""


def require_file(path: Path, suffixes: tuple[str, ...], *, flag: str = "--out") -> None:
    """ConfigError where a path is a folder, or has a suffix of another format."""
    if path.is_dir():
        example = path / f"result{suffixes[0]}"
        raise ConfigError(f"{flag} {path} is a folder: name a file in it, e.g. {example}")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{flag} {path} is a device or a pipe: name a file")
    if path.suffix.lower() not in suffixes:
        *others, last = suffixes
        allowed = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(f"{flag} must end in {allowed}, got {path}: the suffix is the format")


def require_no_input(path: Path, read: Iterable[str | Path], *, flag: str = "--out") -> None:
    """ConfigError where a file would replace one that is read: by the command, or by its run.

    Of a folder of images these are the images in it.
    """
    from ..stages.sources.image_formats import is_image_name

    target = resolved(path)
    if not target.exists():
        return
    for name in dict.fromkeys(map(str, read)):
        source = resolved(Path(name))
        is_inside = source in target.parents and is_image_name(target.name)
        if target == source or is_inside:
            raise ConfigError(f"{flag} {path} would replace a file that is read: name another one")


def require_folder(path: Path, *, flag: str = "--out") -> None:
    """ConfigError where a path is not a new or an empty folder, or has the suffix of a file.

    The working directory is refused too: a folder is replaced as a whole.
    """
    if path.suffix.lower() in _FILE_SUFFIXES:
        raise ConfigError(
            f"{flag} must name a folder, got {path}: leave out {path.suffix}, because several "
            "files are written"
        )
    if resolved(path) == resolved(Path()):
        raise ConfigError(f"{flag} {path} is the working directory: name a new folder in it")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{flag} {path} exists already: name a new one, nothing is overwritten")


def require_prefix(prefix: str) -> None:
    """ConfigError where a prefix for the names of files would lead out of their folder."""
    if prefix and not is_plain_name(prefix):
        raise ConfigError(f"--prefix must be the start of a name, without a path, got {prefix!r}")


def new_folder(name: str) -> str:
    """The name of a folder that does not exist here yet, for a command that is suggested."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{name}-{number}")
    return f"{path}/"


def write_table(table: "pa.Table", path: Path) -> None:
    """Writes a table in the format of the suffix, whole or not at all."""
    from .curation.files import whole_file

    with whole_file(path) as temporary:
        _WRITERS[path.suffix.lower()](table, temporary)


def _write_parquet(table: "pa.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _write_csv(table: "pa.Table", path: Path) -> None:
    import pyarrow.csv as csv

    csv.write_csv(table, path)


def _write_json_lines(table: "pa.Table", path: Path) -> None:
    import json

    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in table.to_pylist():
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")


_WRITERS: Mapping[str, Callable[[Any, Path], None]] = {
    ".parquet": _write_parquet,
    ".pq": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
}

TABLE = tuple(_WRITERS)
"""Suffixes of the formats that a table can be written in."""
