"""Temporary files beside a destination that killed processes left behind."""

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from .files import TEMPORARY_PREFIX, host_tag, temporary_beginning

_OWNED = re.compile(re.escape(TEMPORARY_PREFIX) + r".*-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}", re.DOTALL)
_FOREIGN_SECONDS = 24 * 3600
"""Age after which an unchanged file of another machine counts as left behind."""


def remove_leftovers(path: Path) -> None:
    """Removes temporary siblings of this path that no process writes any more.

    On this machine the process is looked up; for another machine only the file's age is known.
    """
    pattern = re.compile(
        re.escape(temporary_beginning(path.name)) + r"([0-9a-f]{8})-(\d+)-[0-9a-f]{8}"
    )
    for sibling in path.absolute().parent.glob(f"{TEMPORARY_PREFIX}*"):
        match = pattern.fullmatch(sibling.name)
        if match is None or _is_in_use(sibling, match.group(1), int(match.group(2))):
            continue
        with contextlib.suppress(OSError):  # another process may have been faster
            if sibling.is_dir() and not sibling.is_symlink():
                shutil.rmtree(sibling)
            else:
                sibling.unlink()


def has_owner(path: Path) -> bool:
    """Whether a name is one that `temporary_sibling` gave."""
    return _OWNED.fullmatch(path.name) is not None


def is_in_use(path: Path) -> bool:
    """Whether a name is one that `temporary_sibling` gave, and whoever got it still writes."""
    matched = _OWNED.fullmatch(path.name)
    return matched is not None and _is_in_use(path, matched.group(1), int(matched.group(2)))


def _is_in_use(path: Path, host: str, process: int) -> bool:
    if host == host_tag() and os.name == "posix":
        return _is_running(process)
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime < _FOREIGN_SECONDS
    return True


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
