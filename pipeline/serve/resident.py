"""How much of mapped files stays in this process: bounded, so that indexes may be larger."""

import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 256 * 2**20
"""Of mapped files that stay: a search in a million rows looks at some 16 MiB of them."""

_DONT_NEED = 4
"""MADV_DONTNEED of Linux."""

_STATM = Path("/proc/self/statm")
_MAPS = Path("/proc/self/maps")


class Resident:
    """Files that are mapped, of which no more than a bound stays in memory. Any thread may ask."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._places: set[str] = set()
        self._lock = threading.Lock()

    def add(self, place: str | Path) -> None:
        """Takes a file, or all files of a folder, into account."""
        self._places.add(os.path.realpath(place))

    def bound(self) -> bool:
        """Lets go of what is mapped if it is over the bound; says whether it was.

        Nothing is lost and little is read again: what was read stays in the system's cache, from
        where it comes back when it is looked at. Only what cannot be written is let go of. Does
        nothing but on Linux, where others count such memory as free.
        """
        if mapped_bytes() <= self._most_bytes or not self._lock.acquire(blocking=False):
            return False
        try:
            libc = ctypes.CDLL(None)
            for start, length in self._mappings():
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _DONT_NEED)
        finally:
            self._lock.release()
        return True

    def _mappings(self) -> Iterator[tuple[int, int]]:
        """Where the files are mapped for reading alone, and how long each mapping is."""
        for line in _MAPS.read_text(errors="replace").splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) < 6 or not fields[1].startswith("r--"):
                continue
            path = fields[5]
            if path in self._places or any(path.startswith(f"{one}/") for one in self._places):
                start, end = (int(one, 16) for one in fields[0].split("-"))
                yield start, end - start


def mapped_bytes() -> int:
    """Bytes of files that are mapped and counted as this process's memory; 0 if not on Linux."""
    try:
        return int(_STATM.read_text().split()[2]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0
