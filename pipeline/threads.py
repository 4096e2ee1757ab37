"""How many threads compute: as many as there are free processors, and those that wait sleep.

The threads of a matrix product wait for one another many times a second. By default OpenMP's spin
while they wait, so beside other busy programs most of their time is lost: the demo took 378 s
beside two busy processes, and 61 s with one thread. OpenBLAS with threads of its own, as NumPy and
SciPy bring it, cannot wait otherwise, so it gets one.
"""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_THREADS = "OMP_NUM_THREADS"
"""The user's choice for every library that computes; ours where the user made none."""
_SPINNING = "OPENBLAS_NUM_THREADS"
"""The user's choice for OpenBLAS; ours where the user made none."""
_WHILE_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", _SPINNING: "1"}
"""Heeded by GNU's, LLVM's and Intel's OpenMP, and by OpenBLAS, but only while they are loaded."""
PROCESSES_EACH = 4
"""Most processes for each processor: some of them wait for a disk or a network."""
_LEAST_SECONDS = 0.1
"""A shorter time says little: Linux counts the use of a processor in steps of 10 ms."""
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def begin() -> None:
    """Prepares this process and those that it starts; call it before NumPy or torch is imported."""
    for name, value in _WHILE_WAITING.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault(_THREADS, str(processors()))
    _LoadMeter.begin()


def processors() -> int:
    """How many threads may compute: OMP_NUM_THREADS, else the processors of this process.

    These are limited by its affinity, by the quota of its cgroup, and to one for each core, because
    a second thread of a core computes hardly more.
    """
    if named := _named(_THREADS):
        return named
    import psutil

    limits = [len(_usable()), psutil.cpu_count(logical=False), cgroup_quota()]
    return max(1, int(min(limit for limit in limits if limit)))


def _named(variable: str) -> int:
    """The number of threads that a variable names; 0 where it names none."""
    named = os.environ.get(variable, "").split(",")[0].strip()
    return int(named) if named.isdecimal() else 0


def free_processors() -> int:
    """How many of the processors other programs leave free, at least one."""
    idle = len(_usable()) - _LoadMeter.used_by_others()
    return max(1, min(processors(), round(idle)))


def most_processes() -> int:
    """How many processes may share this machine: several for each processor it may use.

    Each of them loads its own libraries and model, so hundreds would only fill the memory.
    """
    usable = len(_usable())
    return PROCESSES_EACH * max(1, int(min(usable, cgroup_quota() or usable)))


@contextlib.contextmanager
def limited_to(count: int) -> Iterator[None]:
    """Lets NumPy, torch and FAISS compute with a number of threads, loaded now or meanwhile."""
    before, usual = os.environ.get(_THREADS), processors()
    set_threads(count)
    try:
        yield
    finally:
        set_threads(usual)
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def set_threads(count: int) -> None:
    """Lets NumPy, torch and FAISS compute with a number of threads, loaded now or later."""
    import threadpoolctl

    os.environ[_THREADS] = str(count)
    for library in threadpoolctl.ThreadpoolController().lib_controllers:
        spins = getattr(library, "threading_layer", "") == "pthreads"
        library.set_num_threads(min(count, _named(_SPINNING) or 1) if spins else count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


def _usable() -> tuple[int, ...]:
    """The numbers of the processors that this process may use."""
    import psutil

    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has none
    return tuple(affinity()) if affinity else tuple(range(os.cpu_count() or 1))


@dataclass(frozen=True)
class _Reading:
    """What has been used up to a moment, in seconds of one processor."""

    at: float
    by_all: float
    by_us: float

    @classmethod
    def now(cls) -> "_Reading":
        import psutil

        times = psutil.cpu_times(percpu=True)
        usable = [number for number in _usable() if number < len(times)]
        by_all = sum(getattr(times[number], name, 0.0) for number in usable for name in _BUSY)
        return cls(time.monotonic(), by_all, sum(os.times()[:4]))


class _LoadMeter:
    """What other programs use of the processors, measured between two questions."""

    _last: _Reading | None = None

    @classmethod
    def begin(cls) -> None:
        """Measures from now on."""
        cls._last = _Reading.now()

    @classmethod
    def used_by_others(cls) -> float:
        """Processors that other programs used since the last question."""
        before = cls._last or _Reading.now()
        time.sleep(max(0.0, before.at + _LEAST_SECONDS - time.monotonic()))
        cls._last = now = _Reading.now()
        used = (now.by_all - before.by_all) - (now.by_us - before.by_us)
        return max(0.0, used / (now.at - before.at))


@functools.cache
def cgroup_quota() -> float | None:
    """Processors' worth of time that the cgroups of this process allow it, if they limit it."""
    return read_quota(_OWN_CGROUPS, _CGROUPS)


def read_quota(own: Path, root: Path) -> float | None:
    """The least quota of a process' cgroup and those above it, of version 1 or 2.

    `own` lists the process' cgroups, and `root` is where they are mounted. In a container the
    listed folders may lie outside of what is mounted; then the mounted root has the limit.
    """
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        inside = PurePosixPath(path.lstrip("/"))
        for folder in (top / inside, *(top / parent for parent in inside.parents), top):
            quotas.append(_quota_of(folder))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(folder: Path) -> float | None:
    """The quota of one cgroup; None where it has none."""
    if (folder / "cpu.max").is_file():
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    elif (folder / "cpu.cfs_quota_us").is_file():
        quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
        period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
    else:
        return None
    return int(quota) / int(period) if quota.isdecimal() else None
