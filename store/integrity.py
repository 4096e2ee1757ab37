"""Notices damaged files when they are opened, not only when `verify` reads the store.

Every time a file of an artifact is opened, its size is compared with the record. Its digest is
compared once in a process: always if the whole file is read anyway. Mapping a file or reading
one column takes a moment, so of such files only the first `CPP_PIPE_CHECK_MIB` are digested.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from .check import NO_RANGES, check_file
from .counting import counted
from .digest import digest_file
from .errors import ConfigError, CppPipeError, StoreError, first_line, is_limit
from .files import Stamp, stamp
from .kind_facts import Range
from .manifest import FileRecord
from .paths import StorePath
from .specs import FileSpec

_SETTING = "CPP_PIPE_CHECK_MIB"
_DEFAULT_MIB = 256.0
"""About half a second of one core."""

_UNREADABLE = (ValueError, EOFError, OSError, SyntaxError, OverflowError, MemoryError, KeyError)
_UNREADABLE_BY_NAME = frozenset(("ArrowException", "SafetensorError"))
"""Names of errors whose libraries need not be loaded here."""

_lock = threading.Lock()
_checked: dict[str, tuple[str, Stamp]] = {}
"""By path, the digest of a file when it was read, and its stamp at that time."""
_declared: dict[str, tuple[object, ...]] = {}
"""By path, what a file was checked against, and its stamp at that time."""
_spent_bytes = 0
"""Bytes digested so far of files that are not read whole."""


def require_whole(
    path: Path, file: FileRecord, *, is_read_whole: bool, place: "StorePath | None" = None
) -> None:
    """StoreError if a file is missing, or has another size or digest than its record.

    `place` is where the store has it, if `path` is a copy.
    """
    place = place or path
    damage = _find_damage(path, file, is_read_whole)
    if damage:
        raise StoreError(f"{place} {damage}: {_remedy(place)}")


@contextlib.contextmanager
def parsing(place: StorePath) -> Iterator[None]:
    """Turns a library's error about a file of the store into a StoreError that says what to do.

    A correct digest does not rule it out: a store that somebody else wrote may hold any bytes.
    """
    try:
        yield
    except CppPipeError:
        raise
    except Exception as error:
        if is_limit(error):
            raise
        names = {kind.__name__ for kind in type(error).__mro__}
        if not isinstance(error, _UNREADABLE) and names.isdisjoint(_UNREADABLE_BY_NAME):
            raise
        raise StoreError(
            f"{place} cannot be read ({first_line(error)}): {_remedy(place)}"
        ) from error


def require_declared(
    path: Path,
    spec: FileSpec,
    *,
    rows: int,
    width: int | None = None,
    ranges: Mapping[str, Range] = NO_RANGES,
    has_vectors_read: bool = True,
    place: "StorePath | None" = None,
) -> None:
    """StoreError if a file is not what its kind declares; checked once in a process.

    For `width` and `ranges` see `check_file`. Vectors are checked only if they are going to be read
    and the file was digested. `place` is where the store has the file, if `path` is a copy.
    """
    place = place or path
    now = stamp(path)
    with _lock:
        is_digested = _checked.get(str(path), ("", None))[1] == now
        are_finite = is_digested and has_vectors_read
        checked = (rows, width, dict(ranges), now)
        if _declared.get(str(path)) in ((*checked, are_finite), (*checked, True)):
            return
    try:
        with parsing(place):
            check_file(path, spec, rows=rows, width=width, ranges=ranges, are_finite=are_finite)
    except StoreError as error:
        raise StoreError(f"{place.parent.parent}: {error}: {_remedy(place)}") from error
    with _lock:
        _declared[str(path)] = (*checked, are_finite)


def _remedy(place: StorePath) -> str:
    return (
        f"restore it, or remove {place.parent.parent} and run the same command again, which makes "
        "this version again; `cpp-pipe verify` lists all damage"
    )


def is_whole(path: Path, file: FileRecord, *, is_read_whole: bool) -> bool:
    """Whether a file exists with the size and the digest of its record."""
    return not _find_damage(path, file, is_read_whole)


def _find_damage(path: Path, file: FileRecord, is_read_whole: bool) -> str:
    """What is wrong with a file; empty if it is intact as far as it was checked."""
    try:
        now = stamp(path)
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        if is_limit(error):
            raise
        return f"cannot be read ({error.strerror})"
    if not path.is_file():
        return "is not a file"
    size = now[2]
    if size != file.bytes:
        return f"has {counted(size, 'byte')} instead of {file.bytes:,}"
    with _lock:
        if _checked.get(str(path)) == (file.sha256, now):
            return ""
        if not is_read_whole and not _can_afford(size):
            return ""
    try:
        if digest_file(path) != file.sha256:
            return "has other bytes than were written"
    except OSError as error:
        if is_limit(error):
            raise
        return f"cannot be read ({error.strerror})"
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
