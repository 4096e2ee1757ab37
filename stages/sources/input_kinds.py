"""Which kind of input a path holds, told by its names, and the flag that takes it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from ...store.errors import ConfigError

Kind = Literal["tar shards", "pictures", "Parquet tables", "embeddings"]

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
EMBEDDING_SUFFIXES = frozenset({".npz", ".npy"})
LEFT_OUT = frozenset({"__MACOSX", "@eaDir"})
"""Folders in which macOS and Synology keep copies of their own, not pictures of the user's."""

_MOST_ENTRIES = 20_000
"""Files and folders that are looked at before a folder is taken to hold nothing that is known."""

_FLAGS: Mapping[Kind, str] = {
    "tar shards": "--shards {!r}",
    "pictures": "--images {!r}",
    "Parquet tables": "--table {!r}",
    "embeddings": "cpp-pipe import {!r}",
}
_ONE: Mapping[Kind, str] = {
    "tar shards": "a tar shard",
    "pictures": "a picture",
    "Parquet tables": "a Parquet table",
    "embeddings": "a file of embeddings",
}
_ASKED: Mapping[Kind, str] = {
    "tar shards": "tar shards are asked for",
    "pictures": "a folder of pictures is asked for",
    "Parquet tables": "Parquet tables are asked for",
    "embeddings": "embeddings are asked for",
}


def find_kind(path: Path) -> Kind | None:
    """What a file or a folder holds; None where it is nothing that is known.

    A folder is what its own files are, else what those below it are. Of several kinds tar shards
    come first, and tables, which may stand beside what they describe, after pictures.
    """
    if not path.is_dir():
        return _kind_of_name(path.name)
    if path.name == "img_emb" or (path / "img_emb").is_dir():
        return "embeddings"
    return _first(_names(path, deep=False)) or _first(_names(path, deep=True))


def flag_for(kind: Kind, path: Path) -> str:
    """The flag or the command that takes such a path; for a picture that is its folder."""
    if kind == "pictures" and path.is_file():
        path = path.parent
    return _FLAGS[kind].format(str(path))


def describe(kind: Kind, path: Path) -> str:
    """What a path is or holds, as the end of a sentence."""
    return f"holds {kind}" if path.is_dir() else f"is {_ONE[kind]}"


def require_kind(path: Path, wanted: Kind) -> None:
    """ConfigError, naming the right flag, for a path that holds something else than `wanted`.

    One that holds nothing that is known is let through: what reads it knows better what to say.
    """
    found = find_kind(path)
    is_one_picture = found == "pictures" and path.is_file()
    if found is not None and (found != wanted or is_one_picture):
        raise ConfigError(
            f"{path} {describe(found, path)}, where {_ASKED[wanted]}: use {flag_for(found, path)}"
        )


def _first(names: Iterable[str]) -> Kind | None:
    kinds = set(map(_kind_of_name, names))
    return next((kind for kind in _FLAGS if kind in kinds), None)


def _kind_of_name(name: str) -> Kind | None:
    suffix = os.path.splitext(name)[1].lower()
    if suffix == ".tar":
        return "tar shards"
    if suffix in PICTURE_SUFFIXES:
        return "pictures"
    if suffix == ".parquet":
        return "Parquet tables"
    return "embeddings" if suffix in EMBEDDING_SUFFIXES else None


def _names(folder: Path, *, deep: bool) -> Iterator[str]:
    """The names of the files in a folder, or also of those below it, as far as one looks."""
    seen = 0
    for _, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if is_visible(one)) if deep else []
        yield from (name for name in files if is_visible(name))
        seen += len(folders) + len(files)
        if seen > _MOST_ENTRIES:
            return


def is_visible(name: str) -> bool:
    """Whether a file or a folder is one of the user's own."""
    return not name.startswith(".") and name not in LEFT_OUT
