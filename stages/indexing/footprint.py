"""What an index will take: bytes of memory and of the disk; and whether this machine has them."""

import os
from dataclasses import dataclass
from pathlib import Path

from ...store import ConfigError
from .factory import Factory, choose_factory, lists_factory
from .lists import BLOCK_BYTES
from .quantizer import ROWS_A_LIST

_ID_BYTES = 8
_LINK_BYTES = 4
_LAYERS = 2.1
"""Links of a row, in units of the factory's: twice on the lowest layer, and a 16th above it."""

_BLOCKS = 4
"""Copies of a block that merging holds."""

_READ_ROWS = 1 << 17
"""Rows that threads hold at once in float32, to list, compare and encode them: 64 MiB of 128."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What building an index takes, and what it leaves."""

    factory: str
    memory_bytes: int
    """Held at most at once, beside what Python and FAISS are themselves."""
    disk_bytes: int
    """The index, and the parts that it is merged from."""

    def line(self, what: str, rows: int, width: int) -> str:
        """What a person is told before the work."""
        return (
            f"{what}: {rows:,} rows of {width} numbers as {self.factory}: about "
            f"{gib(self.memory_bytes)} of memory and {gib(self.disk_bytes)} of disk"
        )


def estimate(factory: Factory, rows: int, width: int) -> Estimate:
    """Bytes for an index of so many rows of this width."""
    code = factory.code_bytes(width)
    reading = 4 * width * min(rows, _READ_ROWS)
    if factory.shape != "lists":
        links = int(factory.links * _LAYERS * _LINK_BYTES)
        size = rows * (code + links)
        return Estimate(factory=factory.text, memory_bytes=size + reading, disk_bytes=size)
    sample = min(rows, factory.lists * ROWS_A_LIST)
    centroids = factory.lists * (4 * width + int(factory.links * _LAYERS * _LINK_BYTES))
    group = 4 * width * sample // max(1, round(factory.lists**0.5))
    fitting = 2 * width * sample + 16 * sample + 8 * group + centroids
    listed = rows * (code + _ID_BYTES)
    merging = _BLOCKS * min(listed, max(BLOCK_BYTES, 2 * listed // factory.lists))
    return Estimate(
        factory=factory.text,
        memory_bytes=max(fitting, centroids + merging) + reading,
        disk_bytes=rows * (2 * code + 2 * _ID_BYTES) + 2 * centroids,
    )


def require_memory(factory: Factory, rows: int, width: int) -> Estimate:
    """The estimate; ConfigError where it is more than what is free, with what would fit."""
    wanted, free = estimate(factory, rows, width), free_memory()
    if free is None or wanted.memory_bytes <= free:
        return wanted
    other = fitting_factory(rows, width, free)
    way_out = (
        f"index.factory = {other!r} does"
        if other
        else "no index does: build it on a machine with more"
    )
    raise ConfigError(
        f"{factory.text} of {rows:,} rows of {width} numbers takes {gib(wanted.memory_bytes)} of "
        f"memory, which {gib(free)} free do not hold: {way_out}"
    )


def fitting_factory(rows: int, width: int, free: int) -> str | None:
    """The index that suits so many rows best among those that fit into free memory, if any does."""
    usual = Factory.parse(choose_factory(rows, width))
    tried = [usual.text]
    lists = usual.lists or max(1, min(rows // 2, 1024))
    while lists:
        tried.append(lists_factory(rows, width, lists))
        lists //= 2
    for text in tried:
        if estimate(Factory.parse(text), rows, width).memory_bytes <= free:
            return text
    return None


def free_memory() -> int | None:
    """Bytes that a process may still take; None where the system does not tell.

    What a container is limited to counts, as far as its own accounts (cgroup v2) say.
    """
    free = _available()
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        # What the page cache holds counts as used, and is given back when it is wanted.
        left = limit - used + _told(_CGROUP / "memory.stat", "inactive_file")
        free = left if free is None else min(free, left)
    return free


_CGROUP = Path("/sys/fs/cgroup")


def _available() -> int | None:
    told = Path("/proc/meminfo")
    if told.is_file():
        return 1024 * _told(told, "MemAvailable:")
    names = ("SC_AVPHYS_PAGES", "SC_PAGE_SIZE")
    if set(names) <= set(os.sysconf_names):
        return os.sysconf(names[0]) * os.sysconf(names[1])
    return None


def _told(path: Path, name: str) -> int:
    """The number that stands after a name in a file of such lines; 0 where it is not there."""
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    found = [line.split()[1] for line in lines if line.split()[0] == name]
    return int(found[0]) if found else 0


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no such file, or no limit."""
    text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else None


def gib(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
