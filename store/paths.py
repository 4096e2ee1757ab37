"""Where a store lies: a path of this machine, or an address in a bucket."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .errors import ConfigError

if TYPE_CHECKING:
    from upath import UPath

StorePath: TypeAlias = "Path | UPath"
"""A folder or a file of a store; `backend_of` returns the backend that reads and writes it."""

_READ_ONLY = ("http", "https", "data")
"""Protocols that cannot write."""

_LOCAL = ("file", "local")

_ONE_SLASH = re.compile(r"[A-Za-z][\w+.-]+:/(?!/)")
"""An address without one of its slashes, which would be a folder of this machine."""

_OPTIONS = {"s3": {"default_block_size": 2**23}, "s3a": {"default_block_size": 2**23}}
"""s3fs reads ten blocks of a file at once, and we read 16 files: with its default blocks of 50 MB
that takes 8 GB."""


def is_in_bucket(path: StorePath) -> bool:
    """Whether a path is an address that fsspec opens, and not a path of this machine."""
    return not isinstance(path, Path)


def anchored(path: StorePath) -> StorePath:
    """The same path, valid from any working directory."""
    return resolved(path) if isinstance(path, Path) else path


def resolved(path: Path) -> Path:
    """An absolute path without links; unlike `Path.resolve` it takes a link to itself."""
    return Path(os.path.realpath(path))


_READ_BY = (".safetensors", ".npz", ".parquet", ".pt", ".pth", ".bin", ".ckpt")
"""Suffixes that decide how a file is read."""


def followed(path: Path) -> Path:
    """Where a path leads, in absolute form; a link whose target lacks its suffix stays a link.

    So caches of hubs keep files: under a name of digits, to which a link has the file's own name.
    """
    target = path.resolve()
    is_renamed = path.suffix in _READ_BY and target.suffix not in _READ_BY
    return Path(absolute(str(path))) if is_renamed else target


def absolute(path: str) -> str:
    """An absolute path or pattern that leads to the same file from any working directory.

    `..` stays where it follows a link, or what is not a folder: `os.path.abspath` leaves both out,
    and then names another file.
    """
    if os.name == "nt":  # where the system itself does so
        return os.path.abspath(path)
    kept: list[str] = []
    for name in os.path.join(os.getcwd(), path).split("/"):
        if name in ("", ".") or (name == ".." and not kept):
            continue
        if name == ".." and kept[-1] != ".." and _is_own_folder("/" + "/".join(kept)):
            kept.pop()
        else:
            kept.append(name)
    return "/" + "/".join(kept)


def _is_own_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def expanded(path: "str | Path") -> Path:
    """A local path with a leading `~` replaced by the home folder; `~nobody` stays as it is."""
    return Path(os.path.expanduser(path))


def _expanded(root: str) -> Path:
    """The same for the root of a store; ConfigError if there is no such user."""
    try:
        return Path(root).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"the store {root!r} begins with ~, but there is no such user") from error


def store_path(root: "str | StorePath") -> StorePath:
    """A path, or an address with `://`; ConfigError if a store cannot be written."""
    if not str(root) or not (isinstance(root, str) or hasattr(root, "joinpath")):
        raise ConfigError(f"the store must be a folder or an address, got {root!r}")
    if isinstance(root, Path):
        if _ONE_SLASH.match(root.as_posix()):
            raise ConfigError(
                f"the store {str(root)!r} is an address that was turned into a Path, which loses "
                "part of it: pass it as text, e.g. Store('s3://bucket/path')"
            )
        return root
    if _ONE_SLASH.match(str(root)) and str(root).partition(":")[0].lower() not in _LOCAL:
        address = str(root).replace(":/", "://", 1)
        raise ConfigError(
            f"the store {str(root)!r} has one slash after the colon: an address has two, as in "
            f"{address}"
        )
    protocol, separator, rest = str(root).partition("://")
    if not separator or len(protocol) == 1:  # a drive of Windows, as in C://photos
        return _expanded(str(root))
    protocol = protocol.lower()
    if protocol in _LOCAL:
        return Path(rest)
    from upath import UPath

    address, given = root, {}
    if isinstance(root, UPath):
        given = root.storage_options
    else:
        address = f"{protocol}://{rest}"
    try:
        if protocol in _READ_ONLY:
            raise ValueError(f"{protocol} cannot be written to")
        if "::" in protocol:
            raise ValueError("it is chained")
        if not rest.strip("/"):
            raise ValueError("it names no bucket")
        # Listings are not cached: what other machines write must be seen.
        options = {**_OPTIONS.get(protocol, {}), **given, "use_listings_cache": False}
        return UPath(address, **options)
    except ValueError as error:
        raise ConfigError(
            f"a store cannot lie at {str(root)!r} ({error}): name a folder, s3://bucket/path, "
            "gs://bucket/path, or another address that fsspec can write to"
        ) from error
