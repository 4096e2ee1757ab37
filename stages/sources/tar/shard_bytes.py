"""The bytes of an open tar shard, read by position."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from ....store.errors import ShardError, is_limit
from .listing import Span

_CHUNK = 1 << 20


class ShardBytes:
    """The bytes of an open shard; safe to read from several threads at once.

    Reads copy: with a memory map, a shard that another process truncates would kill this process
    by a signal.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle
        self._lock = threading.Lock()
        self.size = os.fstat(handle).st_size

    def read(self, span: Span) -> bytes:
        """The bytes at `span`; ShardError if the file has become shorter."""
        pieces: list[bytes] = []
        start, end = span.offset, span.offset + span.size
        while start < end:
            piece = self._read_at(start, end - start)
            if not piece:
                raise ShardError(
                    f"the shard {self._path} ends before byte {start}, although its headers "
                    "promise more: it was changed while it was read"
                )
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_at(self, start: int, size: int) -> bytes:
        try:
            return self._pread(start, size)
        except OSError as error:
            raise ShardError(
                f"the shard {self._path} cannot be read at byte {start} ({error.strerror}): check "
                "its disk, and run the same command again, or leave the shard out"
            ) from error

    def _pread(self, start: int, size: int) -> bytes:
        pread = getattr(os, "pread", None)
        if pread is not None:
            return pread(self._handle, size, start)
        with self._lock:  # Windows only reads from where an earlier read ended
            os.lseek(self._handle, start, os.SEEK_SET)
            return os.read(self._handle, size)

    def sha256(self) -> str:
        """SHA-256, in hex, of the whole shard; reads all of it."""
        digest = hashlib.sha256()
        start = 0
        while chunk := self._read_at(start, _CHUNK):
            digest.update(chunk)
            start += len(chunk)
        return digest.hexdigest()


@contextlib.contextmanager
def open_shard(path: Path) -> Iterator[ShardBytes]:
    """Opens the bytes of the shard at `path` for the duration of the block."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if is_limit(error):
            raise
        raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error
    try:
        yield ShardBytes(path, handle)
    finally:
        os.close(handle)
