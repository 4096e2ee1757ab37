"""Pictures that are files of their own: what each is before it is read, and its bytes."""

import hashlib
import itertools
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .pixels import UndecodableImage

EDGE_BYTES = 4 * 1024
_AT_ONCE = 64
_READERS = 8
"""Threads that look at files: on a network's disk each look waits, and Python waits beside it."""

Glimpse = tuple[int, str] | None
"""Size and digest of the first and last 4 KiB; None where a file cannot be read."""


class PictureFile:
    """One picture in a file of its own; the digest of its bytes is kept once they were read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size: int | None = None
        self.sha256: str | None = None

    def read(self) -> bytes:
        """The bytes of the file; UndecodableImage where they cannot be had."""
        encoded = read_picture(self._path)
        self.size, self.sha256 = len(encoded), hashlib.sha256(encoded).hexdigest()
        return encoded


def read_picture(path: Path) -> bytes:
    """The bytes of a file; UndecodableImage where they cannot be had."""
    try:
        # A pipe would be waited for without an end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UndecodableImage("not_a_file", "a folder, a pipe or a device")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UndecodableImage("unreadable", _why(error)) from error


def glimpse_all(paths: Iterable[str]) -> list[Glimpse]:
    """What each file is, without reading all of it, in order."""
    waiting = iter(paths)
    batches = iter(lambda: list(itertools.islice(waiting, _AT_ONCE)), [])
    with ThreadPoolExecutor(_READERS) as pool:
        return [one for batch in pool.map(_glimpse_some, batches) for one in batch]


def _glimpse_some(paths: list[str]) -> list[Glimpse]:
    return [_glimpse(path) for path in paths]


def _glimpse(path: str) -> Glimpse:
    # A library has millions of pictures: plain calls of the system take 60 us each, Path 155.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            return None
        digest = hashlib.sha256(os.pread(handle, EDGE_BYTES, 0))
        digest.update(os.pread(handle, EDGE_BYTES, max(EDGE_BYTES, told.st_size - EDGE_BYTES)))
        return told.st_size, digest.hexdigest()
    except OSError:
        return None
    finally:
        os.close(handle)


def _why(error: OSError | ValueError) -> str:
    """In words; a path that holds a zero byte is a ValueError."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error)
