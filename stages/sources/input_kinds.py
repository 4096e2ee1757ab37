"""The kind of input at a path, judged by file names, and the flag that takes it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from ...store.errors import ConfigError
from .image_formats import is_image_suffix

InputKind = Literal["tar shards", "images", "Parquet tables", "embeddings"]

EMBEDDING_SUFFIXES = frozenset({".npz", ".npy"})
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir"})
"""Folders in which macOS and Synology keep their own copies, not the user's images."""
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
"""Files, in lower case, that Windows and macOS leave in folders of images."""

_MAX_ENTRIES = 20_000
"""Files and folders that are examined before a folder counts as holding no known kind."""

_FLAGS: Mapping[InputKind, str] = {
    "tar shards": "--shards {!r}",
    "images": "--images {!r}",
    "Parquet tables": "--table {!r}",
    "embeddings": "cpp-pipe import {!r}",
}
_SINGULAR: Mapping[InputKind, str] = {
    "tar shards": "a tar shard",
    "images": "an image",
    "Parquet tables": "a Parquet table",
    "embeddings": "a file of embeddings",
}
_DESCRIPTIONS: Mapping[InputKind, str] = {
    "tar shards": "tar shards",
    "images": "a folder of images",
    "Parquet tables": "Parquet tables",
    "embeddings": "embeddings",
}


def find_kind(path: Path) -> InputKind | None:
    """The kind of input that a file is or a folder holds; None if it is no known kind.

    A folder's own files decide, else the files below it. Among several kinds tar shards win;
    tables rank after images, because they may lie beside the images that they describe.
    """
    if not path.is_dir():
        return _kind_of_name(path.name)
    if path.name == "img_emb" or (path / "img_emb").is_dir():
        return "embeddings"
    return _first(_names(path, deep=False)) or _first(_names(path, deep=True))


def flag_for(kind: InputKind, path: Path) -> str:
    """The flag or the command that takes this path; for a single image, its folder."""
    if kind == "images" and path.is_file():
        path = path.parent
    return _FLAGS[kind].format(str(path))


def describe(kind: InputKind, path: Path) -> str:
    """What a path is or holds, as the end of a sentence."""
    return f"holds {kind}" if path.is_dir() else f"is {_SINGULAR[kind]}"


def require_kind(path: Path, expected: InputKind) -> None:
    """ConfigError, naming the right flag, for a path that holds another kind than `expected`.

    A path of no known kind passes, unless it may never end: its reader has the better message.
    """
    if path.exists() and not path.is_dir() and not path.is_file():
        raise ConfigError(
            f"{path} is a device or a pipe, not {_DESCRIPTIONS[expected]}: name a file"
        )
    kind = find_kind(path)
    is_single_image = kind == "images" and path.is_file()
    if kind is not None and (kind != expected or is_single_image):
        raise ConfigError(
            f"{path} {describe(kind, path)}, not {_DESCRIPTIONS[expected]}: use "
            f"{flag_for(kind, path)}"
        )


def _first(names: Iterable[str]) -> InputKind | None:
    kinds = set(map(_kind_of_name, names))
    return next((kind for kind in _FLAGS if kind in kinds), None)


def _kind_of_name(name: str) -> InputKind | None:
    suffix = os.path.splitext(name)[1].lower()
    if suffix == ".tar":
        return "tar shards"
    if is_image_suffix(suffix):
        return "images"
    if suffix == ".parquet":
        return "Parquet tables"
    return "embeddings" if suffix in EMBEDDING_SUFFIXES else None


def _names(folder: Path, *, deep: bool) -> Iterator[str]:
    """The names of the files in a folder and, if `deep`, below it, up to `_MAX_ENTRIES`."""
    seen = 0
    for _, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if is_visible(name)) if deep else []
        yield from (name for name in files if is_visible(name))
        seen += len(folders) + len(files)
        if seen > _MAX_ENTRIES:
            return


def is_visible(name: str) -> bool:
    """Whether a file or a folder is the user's own."""
    is_of_system = name in SYSTEM_FOLDERS or name.lower() in SYSTEM_FILES
    return not name.startswith(".") and not is_of_system
