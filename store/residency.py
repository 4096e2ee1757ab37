"""Limits how much of the mapped files stays in memory, so that indexes may be larger.

Memory is released by its address. Where a file was unmapped a moment before, memory of another sort
may have the address, and its content would be lost. So only mappings are released whose owners are
known and held meanwhile.
"""

import ctypes
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

Range = tuple[int, int]
"""Address and length of a mapping."""

MAX_BYTES = 256 * 2**20
"""Bytes of mapped files in memory: a search in a million rows reads some 16 MiB of them."""

_DONT_NEED = 4
"""MADV_DONTNEED of Linux."""

_STATM = Path("/proc/self/statm")
_MAPS = Path("/proc/self/maps")

_held: dict[int, tuple["weakref.ref[object]", tuple[Range, ...]]] = {}
"""The owners of mappings, which last as long as these live."""
_opening = threading.Lock()


class Residency:
    """A limit of the memory of mapped files. Safe to call from any thread."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def trim(self) -> bool:
        """Releases the memory of the mapped files if it is over the limit; returns whether it was.

        This costs little: what was read stays in the system's cache, and is mapped from there when
        it is read again. Does nothing except on Linux: other systems count such memory as free.
        """
        if mapped_bytes() <= self._max_bytes or not self._lock.acquire(blocking=False):
            return False
        try:
            libc = ctypes.CDLL(None)
            for find, ranges in list(_held.values()):
                owner = find()  # held until its ranges are released
                for start, length in ranges if owner is not None else ():
                    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _DONT_NEED)
        finally:
            self._lock.release()
        return True


def map_array(path: str | Path) -> "np.memmap":
    """A NumPy file, mapped to be read. Its memory may be released."""
    import numpy as np

    # Unlike np.load it takes nothing else, such as an archive under the name of an array.
    array = np.lib.format.open_memmap(path, mode="r")
    owner = array.base
    assert isinstance(owner, mmap.mmap), "NumPy maps files by mmap"
    if array.size:
        start = array.ctypes.data - array.offset % mmap.ALLOCATIONGRANULARITY
        hold(owner, [(start, len(owner))])
    return array


def hold(owner: object, ranges: Iterable[Range]) -> None:
    """Includes read-only mappings that last at least as long as their owner."""
    find = weakref.ref(owner, _forget)
    _held[id(find)] = find, tuple(ranges)


def _forget(find: "weakref.ref[object]") -> None:
    _held.pop(id(find), None)


def held_while_open(path: Path, map_file: Callable[[], T]) -> T:
    """What a library returns that maps a file itself, e.g. an open index; the owner of its maps.

    The library maps the file with nobody else mapping it at the same time.
    """
    if not _MAPS.is_file():
        return map_file()
    with _opening:
        before = _ranges_of(path)
        owner = map_file()
        hold(owner, _ranges_of(path) - before)
    return owner


def _ranges_of(path: Path) -> set[Range]:
    """The read-only mappings of a file."""
    name, ranges = os.path.realpath(path), set[Range]()
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == name and fields[1].startswith("r--"):
            start, end = (int(address, 16) for address in fields[0].split("-"))
            ranges.add((start, end - start))
    return ranges


def mapped_bytes() -> int:
    """Bytes of mapped files that count as this process's memory; 0 if not on Linux."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[2]) * mmap.PAGESIZE
    except FileNotFoundError:
        return 0
