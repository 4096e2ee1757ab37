"""Notices damaged files when they are opened, not only when `verify` reads the store.

Every time a file of an artifact is opened, its size is compared with the record. Its digest is
compared once in a process: always where the whole file is read anyway. Mapping a file or reading
one column takes a moment, so of such files only the first `CPP_PIPE_CHECK_MIB` are digested.
"""

import os
import threading
from pathlib import Path

from .digest import digest_file
from .errors import ConfigError, StoreError
from .files import Stamp, stamp
from .manifest import FileRecord

_SETTING = "CPP_PIPE_CHECK_MIB"
_DEFAULT_MIB = 256.0
"""About half a second of one core."""

_lock = threading.Lock()
_checked: dict[str, tuple[str, Stamp]] = {}
"""By path, the digest that a file was found to have, and what `stat` said of it then."""
_spent_bytes = 0
"""Digested of files that were not going to be read whole."""


def require_whole(path: Path, file: FileRecord, *, is_read_whole: bool) -> None:
    """StoreError where a file is missing, or is not what its record says."""
    damage = _find_damage(path, file, is_read_whole)
    if damage:
        raise StoreError(
            f"{path} {damage}: restore it, or remove {path.parent.parent} and run the same command "
            "again, which makes this version again; `cpp-pipe verify` lists all damage"
        )


def is_whole(path: Path, file: FileRecord, *, is_read_whole: bool) -> bool:
    """Whether a file is there and is what its record says."""
    return not _find_damage(path, file, is_read_whole)


def _find_damage(path: Path, file: FileRecord, is_read_whole: bool) -> str:
    """What is wrong with a file; empty where nothing was found."""
    try:
        now = stamp(path)
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    size = now[2]
    if size != file.bytes:
        return f"has {size:,} bytes instead of {file.bytes:,}"
    with _lock:
        if _checked.get(str(path)) == (file.sha256, now):
            return ""
        if not is_read_whole and not _can_afford(size):
            return ""
    if digest_file(path) != file.sha256:
        return "has other bytes than were written"
    with _lock:
        _checked[str(path)] = (file.sha256, now)
    return ""


def _can_afford(size: int) -> bool:
    global _spent_bytes
    if _spent_bytes + size > _most_bytes():
        return False
    _spent_bytes += size
    return True


def _most_bytes() -> float:
    text = os.environ.get(_SETTING, "") or str(_DEFAULT_MIB)
    try:
        mib = float(text)
    except ValueError:
        mib = -1.0
    if not mib >= 0:
        raise ConfigError(f"{_SETTING} must be a number of MiB from 0 on, or inf, got {text!r}")
    return mib * 2**20
