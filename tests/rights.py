"""Rights of files that hold for root too."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_VERSION = 0x20080522
"""Of the sets of capabilities: _LINUX_CAPABILITY_VERSION_3."""
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
"""Numbers of the capabilities that let root ignore the modes of files."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextlib.contextmanager
def file_modes_hold() -> Iterator[None]:
    """Takes from this thread root's right to read and write whatever the modes of files say."""
    if os.geteuid() != 0:
        yield
        return
    before = _capabilities()
    after = _capabilities()
    after[0].effective &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    _set_capabilities(after)
    try:
        yield
    finally:
        _set_capabilities(before)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Lets nobody write into a folder and what lies below it, until the end of the block."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        with file_modes_hold():
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def _capabilities() -> ctypes.Array[_Set]:
    sets = (_Set * 2)()
    _call("capget", sets)
    return sets


def _set_capabilities(sets: ctypes.Array[_Set]) -> None:
    _call("capset", sets)


def _call(name: str, sets: ctypes.Array[_Set]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(ctypes.byref(_Header(_VERSION, 0)), sets) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
