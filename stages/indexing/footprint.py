"""Memory and disk that building an index takes, and whether this machine has the memory."""

from dataclasses import dataclass
from pathlib import Path

from ...store import ConfigError
from ...store.counting import counted
from .centroids import count_groups
from .factory import Factory, choose_factory, lists_factory
from .lists import BLOCK_BYTES
from .quantizer import ROWS_A_LIST

_ID_BYTES = 8
_LINK_BYTES = 4
_LAYERS = 2.1
"""Links per row, as a multiple of the factory's: twice on the lowest layer, and a 16th above it."""

_BLOCKS = 4
"""Copies of a block that merging holds."""

_READ_ROWS = 1 << 17
"""Rows that all threads hold at a time in float32: 64 MiB at 128 dimensions."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Memory and disk that building an index takes."""

    factory: str
    memory_bytes: int
    """Peak memory, without that of Python and FAISS themselves."""
    disk_bytes: int
    """Disk for the index and for the parts that it is merged from."""

    def line(self, what: str, rows: int, width: int) -> str:
        """A line for the user before the work starts."""
        return (
            f"{what}: {counted(rows, 'row')} of {counted(width, 'number')} as {self.factory}: "
            f"about {gib(self.memory_bytes)} of memory and {gib(self.disk_bytes)} of disk"
        )


def estimate_footprint(factory: Factory, rows: int, width: int) -> Footprint:
    """Bytes for an index of `rows` rows of `width` dimensions."""
    code = factory.code_bytes(width)
    reading = 4 * width * min(rows, _READ_ROWS)
    if factory.shape != "lists":
        links = int(factory.links * _LAYERS * _LINK_BYTES)
        size = rows * (code + links)
        return Footprint(factory=factory.text, memory_bytes=size + reading, disk_bytes=size)
    sample = min(rows, factory.lists * ROWS_A_LIST)
    centroids = factory.lists * (4 * width + int(factory.links * _LAYERS * _LINK_BYTES))
    group = 4 * width * sample // max(1, count_groups(factory.lists))
    fitting = 2 * width * sample + 16 * sample + 8 * group + centroids
    listed_bytes = rows * (code + _ID_BYTES)
    merging = _BLOCKS * min(listed_bytes, max(BLOCK_BYTES, 2 * listed_bytes // factory.lists))
    return Footprint(
        factory=factory.text,
        memory_bytes=max(fitting, centroids + merging) + reading,
        disk_bytes=rows * (2 * code + 2 * _ID_BYTES) + 2 * centroids,
    )


def require_memory(factory: Factory, rows: int, width: int) -> Footprint:
    """The footprint; ConfigError if memory is too small, with a factory that fits."""
    footprint, free = estimate_footprint(factory, rows, width), free_memory()
    if footprint.memory_bytes <= free:
        return footprint
    other = fitting_factory(rows, width, free)
    advice = (
        f"set index.factory = {other!r}, which fits"
        if other
        else "no index fits: build it on a machine with more memory"
    )
    raise ConfigError(
        f"{factory.text} of {counted(rows, 'row')} of {counted(width, 'number')} needs "
        f"{gib(footprint.memory_bytes)} of memory, and {gib(free)} is free: {advice}"
    )


def fitting_factory(rows: int, width: int, free: int) -> str | None:
    """The best factory for this many rows that fits into free memory; None if none does."""
    default = Factory.parse(choose_factory(rows, width))
    candidates = [default.text]
    lists = default.lists or max(1, min(rows // 2, 1024))
    while lists:
        candidates.append(lists_factory(rows, width, lists))
        lists //= 2
    for text in candidates:
        if estimate_footprint(Factory.parse(text), rows, width).memory_bytes <= free:
            return text
    return None


def free_memory() -> int:
    """Bytes that a process may still allocate.

    Heeds the limit of a container, as cgroup v2 reports it.
    """
    import psutil

    free = psutil.virtual_memory().available
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        # The page cache counts as used, but is freed on demand.
        free_in_container = limit - used + _value(_CGROUP / "memory.stat", "inactive_file")
        free = min(free, free_in_container)
    return free


_CGROUP = Path("/sys/fs/cgroup")


def _value(path: Path, name: str) -> int:
    """The number after a name in a file of lines `name number`; 0 if there is none."""
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    values = [line.split()[1] for line in lines if line.split()[0] == name]
    return int(values[0]) if values else 0


def _number(path: Path) -> int | None:
    """The number in a file; None if there is no file, or no number."""
    text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else None


def gib(size: int) -> str:
    """A size in GiB or MiB, e.g. `1.5 GiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
