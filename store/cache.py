"""Files that this machine keeps for stores in buckets: copies, scratch folders, checkpoints.

All of them may be removed while no command runs: they are then copied or made again.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from . import objects
from .digest import digest_file, digest_json
from .errors import ConfigError, StoreError
from .files import TEMPORARY_PREFIX, replace, store_errors, temporary_sibling
from .locks import lock
from .manifest import FileRecord
from .paths import expanded

if TYPE_CHECKING:
    from upath import UPath

UNUSED_SECONDS = 30 * 24 * 3600.0
"""Time without use after which `gc` removes a copy, or the checkpoints of a training."""
_JUST_BEGUN_SECONDS = 3600.0
"""Age below which `gc` keeps a scratch folder: its owner may not have locked it yet."""

SPARE_BYTES = 2 * 2**30
"""Bytes of a disk that copies leave free."""
IN_USE_SECONDS = 600.0
"""Time for which a copy stays after its last use: its user may not have opened it yet."""

_LIMIT = "CPP_PIPE_CACHE_GIB"
_LOCK = ".lock"
_ABANDONED = "left behind on this machine by a process that was stopped"


def folder() -> Path:
    """The cache's folder: CPP_PIPE_CACHE, or cpp-pipe in the user's cache folder."""
    setting = os.environ.get("CPP_PIPE_CACHE")
    if setting:
        return expanded(setting).absolute()
    try:
        return user_folder()
    except RuntimeError as error:
        raise ConfigError(
            "this user has no home folder to copy files of a bucket to: name a folder with "
            "CPP_PIPE_CACHE"
        ) from error


def user_folder() -> Path:
    """cpp-pipe in the user's cache folder; RuntimeError for a user who has no home."""
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "cpp-pipe"


def _errors(doing: str) -> contextlib.AbstractContextManager[None]:
    return store_errors(doing, "name another folder for copies with CPP_PIPE_CACHE")


def _entry(file: FileRecord) -> Path:
    name = f"{file.sha256}{Path(file.name).suffix}"
    return folder() / "files" / file.sha256[:2] / name


def find(file: FileRecord) -> Path | None:
    """The copy of a file, if it is complete; marks it as used."""
    entry = _entry(file)
    try:
        status = entry.stat()
        if status.st_size != file.bytes:
            return None
        with contextlib.suppress(PermissionError):  # another user's, if several share the folder
            # Only the time of its last use: with another time of its last change, its bytes would
            # be checked again each time.
            os.utime(entry, ns=(time.time_ns(), status.st_mtime_ns))
    except FileNotFoundError:  # perhaps because another command has just made room
        return None
    return entry


def fetch(path: "UPath", file: FileRecord) -> Path:
    """The copy of a bucket's file on this machine, downloaded if there is none.

    StoreError if the bytes differ from those that were written.
    """
    copy = find(file)
    if copy is not None:
        return copy
    entry = _entry(file)
    # One process of this machine downloads a file that several of them need.
    claim = lock(folder() / "locks" / file.sha256[:2])
    with _errors(f"copying {path} to {entry.parent}"), claim:
        return find(file) or _copy(path, file, entry)


def _copy(path: "UPath", file: FileRecord, entry: Path) -> Path:
    temporary = temporary_sibling(entry)
    entry.parent.mkdir(parents=True, exist_ok=True)
    _make_room(file.bytes)
    try:
        temporary.touch()
        objects.download(path, temporary)
        size = temporary.stat().st_size
        if size != file.bytes or digest_file(temporary) != file.sha256:
            raise StoreError(
                f"{path} has other bytes than were written, {size:,} instead of {file.bytes:,}: "
                "restore it, or remove the folder of its version and run the command again"
            )
        replace(temporary, entry)
    finally:
        temporary.unlink(missing_ok=True)
    return entry


def add(local: Path, file: FileRecord) -> None:
    """Moves a file that was just uploaded into the cache, as its copy."""
    entry = _entry(file)
    with _errors(f"writing {entry.parent}"):
        entry.parent.mkdir(parents=True, exist_ok=True)
        replace(local, entry)
        _make_room(0)


def _make_room(new_bytes: int) -> None:
    """Removes the least recently used copies until `new_bytes` more bytes fit.

    They fit when copies stay within CPP_PIPE_CACHE_GIB and leave `SPARE_BYTES` of the disk free.
    Copies used within `IN_USE_SECONDS` stay. A copy that is mapped into memory remains readable.
    """
    limit = _limit()
    excess_bytes = new_bytes + SPARE_BYTES - shutil.disk_usage(folder()).free
    if limit is None and excess_bytes <= 0:
        return
    copies = []
    for path in folder().glob("files/*/*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            copies.append((_last_used(status), status.st_size, path))
    if limit is not None:
        excess_bytes = max(excess_bytes, new_bytes + sum(size for _, size, _ in copies) - limit)
    for used, size, path in sorted(copies):
        if excess_bytes <= 0 or time.time() - used < IN_USE_SECONDS:
            return
        path.unlink(missing_ok=True)
        excess_bytes -= size


def _limit() -> int | None:
    """The bytes that all copies may take; None if only the disk limits them."""
    text = os.environ.get(_LIMIT)
    if not text:
        return None
    try:
        limit = float(text) * 2**30
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise ConfigError(f"{_LIMIT} must be a number above 0, such as 50, got {text!r}")
    return int(limit)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for this process alone; removed afterwards."""
    path = folder() / "scratch" / secrets.token_hex(8)
    with _errors(f"writing {path}"):
        path.mkdir(parents=True)
        try:
            with lock(path / _LOCK):
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def folder_for(path: "UPath", purpose: str) -> Path:
    """A folder for files that belong to an address but are not copies of its objects."""
    return folder() / purpose / digest_json(str(path))[:16]


def leftovers() -> Iterator[tuple[Path, str]]:
    """Files that were not used for long, and files that a stopped process left behind."""
    for path in sorted(folder().glob("files/*/*")):
        if path.name.startswith(TEMPORARY_PREFIX) and _age_seconds(path) > _JUST_BEGUN_SECONDS:
            yield path, _ABANDONED
        elif _unused_seconds(path) > UNUSED_SECONDS:
            yield path, "a copy on this machine that was not used for long"
    for path in sorted(folder().glob("checkpoints/*")):
        if min(map(_age_seconds, [path, *path.glob("*")])) > UNUSED_SECONDS:
            yield path, "checkpoints on this machine that were not used for long"
    for path in sorted(folder().glob("scratch/*")):
        if _age_seconds(path) > _JUST_BEGUN_SECONDS:
            with lock(path / _LOCK, wait=False) as is_free:
                if is_free:
                    yield path, _ABANDONED


def _age_seconds(path: Path) -> float:
    """Seconds since a file or a folder was changed; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _unused_seconds(copy: Path) -> float:
    """Seconds since a copy was used; 0 if it is gone."""
    try:
        return time.time() - _last_used(copy.stat())
    except FileNotFoundError:
        return 0.0


def _last_used(status: os.stat_result) -> float:
    """When a copy was used or made; earlier versions of cpp-pipe marked only its last change."""
    return max(status.st_atime, status.st_mtime)
