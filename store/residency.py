"""Limits how much of the mapped files stays in memory, so that indexes may be larger."""

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 256 * 2**20
"""Bytes of mapped files in memory: a search in a million rows reads some 16 MiB of them."""

_DONT_NEED = 4
"""MADV_DONTNEED of Linux."""

_STATM = Path("/proc/self/statm")
_MAPS = Path("/proc/self/maps")


class Residency:
    """Mapped files, of which no more than a limit stays in memory. Safe to call from any thread."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._paths: set[str] = set()
        self._lock = threading.Lock()

    def add(self, path: str | Path) -> None:
        """Includes a file, or all files of a folder."""
        self._paths.add(os.path.realpath(path))

    def trim(self) -> bool:
        """Releases the memory of the mapped files if it is over the limit; returns whether it was.

        This costs little: what was read stays in the system's cache, and is mapped from there when
        it is read again. Only read-only mappings are released. Does nothing except on Linux: other
        systems count such memory as free.
        """
        if mapped_bytes() <= self._max_bytes or not self._lock.acquire(blocking=False):
            return False
        try:
            libc = ctypes.CDLL(None)
            for start, length in self._mappings():
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _DONT_NEED)
        finally:
            self._lock.release()
        return True

    def _mappings(self) -> Iterator[tuple[int, int]]:
        """Start and length of each read-only mapping of the files."""
        for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) < 6 or not fields[1].startswith("r--"):
                continue
            path = fields[5]
            if path in self._paths or any(path.startswith(f"{folder}/") for folder in self._paths):
                start, end = (int(address, 16) for address in fields[0].split("-"))
                yield start, end - start


def mapped_bytes() -> int:
    """Bytes of mapped files that count as this process's memory; 0 if not on Linux."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[2]) * mmap.PAGESIZE
    except FileNotFoundError:
        return 0
