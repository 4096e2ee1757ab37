"""Images in single files: their fingerprints, and their bytes."""

import contextlib
import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ....store.errors import ShardError, is_limit
from ..fields import MAX_TEXT_BYTES
from .pixels import UndecodableImage

EDGE_BYTES = 4 * 1024
_BATCH_FILES = 64
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A pipe must not block, and Windows must not translate line ends."""
_READERS = 8
"""Threads that fingerprint files: on a network disk, each read waits."""

Fingerprint = tuple[int, str] | None
"""A file's size, and the digest of its first and last 4 KiB; None if it cannot be read."""


class ImageFile:
    """An image in a single file; keeps the size and the digests of its bytes once read.

    `was_readable` says that it had a fingerprint when its source was listed.
    """

    def __init__(self, path: Path, *, was_readable: bool) -> None:
        self._path = path
        self._was_readable = was_readable
        self.size: int | None = None
        self.sha256: str | None = None
        self.fingerprint: Fingerprint = None
        """That of the bytes that were read; None if it cannot be read, or was not yet."""

    def read(self) -> bytes:
        """The bytes of the file; UndecodableImage if they cannot be read.

        ShardError if they could be read when it was listed: the identity of its source includes
        them, so a part without them would be kept for ever.
        """
        try:
            encoded = read_image_file(self._path)
        except UndecodableImage as error:
            if self._was_readable:
                raise no_longer_readable(self._path, error.detail) from error
            raise
        self.size, self.sha256 = len(encoded), hashlib.sha256(encoded).hexdigest()
        last = encoded[max(EDGE_BYTES, self.size - EDGE_BYTES) :]
        edges = hashlib.sha256(encoded[:EDGE_BYTES] + last).hexdigest()
        self.fingerprint = self.size, edges
        return encoded


def read_image_file(path: Path) -> bytes:
    """The bytes of a file; UndecodableImage if they cannot be read."""
    with _regular_file(path):
        return path.read_bytes()


def read_text_file(path: Path) -> tuple[int, bytes]:
    """The size of a text file, and its bytes unless they are more than MAX_TEXT_BYTES.

    UndecodableImage if they cannot be read.
    """
    with _regular_file(path) as size, path.open("rb") as file:
        content = b"" if size > MAX_TEXT_BYTES else file.read(MAX_TEXT_BYTES + 1)
    size = max(size, len(content))
    return size, content if size <= MAX_TEXT_BYTES else b""


@contextlib.contextmanager
def _regular_file(path: Path) -> Iterator[int]:
    """The size of a file to read in the block; UndecodableImage if it cannot be read."""
    try:
        status = os.stat(path)
        # Reading a pipe could block for ever.
        if not stat.S_ISREG(status.st_mode):
            raise UndecodableImage("not_a_file", "a folder, a pipe or a device")
        yield status.st_size
    except (OSError, ValueError) as error:
        if is_limit(error):
            raise
        raise UndecodableImage("unreadable", _why(error)) from error


def no_longer_readable(path: Path, why: str) -> ShardError:
    """The error for a file that had a fingerprint when it was listed, and now cannot be read."""
    return ShardError(
        f"{path} could be read when it was listed, but no longer ({why}): once its disk can be "
        "reached and its files do not change, run the same command again"
    )


def fingerprint_files(paths: Iterable[str]) -> list[tuple[Fingerprint, int]]:
    """The fingerprint of each file, in order, and when it was last written to, in nanoseconds.

    Reads at most 8 KiB of each.
    """
    remaining = iter(paths)
    batches = iter(lambda: list(itertools.islice(remaining, _BATCH_FILES)), [])
    with ThreadPoolExecutor(_READERS) as pool:
        return list(itertools.chain.from_iterable(pool.map(_fingerprint_batch, batches)))


def _fingerprint_batch(paths: list[str]) -> list[tuple[Fingerprint, int]]:
    return [_fingerprint(path) for path in paths]


def _fingerprint(path: str) -> tuple[Fingerprint, int]:
    # A collection may have millions of images: os calls take 60 us per file, pathlib's 155.
    try:
        handle = os.open(path, _OPEN)
    except (OSError, ValueError) as error:
        if is_limit(error):
            raise
        return None, 0
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None, 0
        digest = hashlib.sha256(os.read(handle, EDGE_BYTES))
        os.lseek(handle, max(EDGE_BYTES, status.st_size - EDGE_BYTES), os.SEEK_SET)
        digest.update(os.read(handle, EDGE_BYTES))
        return (status.st_size, digest.hexdigest()), status.st_mtime_ns
    except OSError as error:
        if is_limit(error):
            raise
        return None, 0
    finally:
        os.close(handle)


def _why(error: OSError | ValueError) -> str:
    """The message of an error; a path with a zero byte raises a ValueError."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error)
