"""Locks that the operating system releases when their owner ends, however it ends.

portalocker uses `flock` if there is one, so that every version of cpp-pipe excludes every other,
and LockFileEx on Windows. filelock, a dependency of torch, has no lock that several processes may
share, and a store needs one: any number of commands write to it at once.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import StoreError
from .files import store_errors

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of disks that are mounted without locks: Lustre by default, NFS 3 without lockd."""
_PAUSE_SECONDS = 0.05
"""Pause between two attempts: waiting inside Windows ends after ten seconds."""
SILENT_SECONDS = 10.0
"""How long a command waits without a word; most locks are held for a moment."""


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Holds a lock, which the operating system releases when its owner ends.

    Yields whether it is held: without `wait` False at once if another process holds it.
    """
    handle = _open(path)
    try:
        is_held = _take(handle, path, shared=shared, wait=False)
        if wait and not is_held:
            _wait(handle, path, shared=shared)
            is_held = True
        try:
            yield is_held
        finally:
            if is_held:
                _release(handle)
    finally:
        os.close(handle)


def _wait(handle: int, path: Path, *, shared: bool) -> None:
    """Waits until an open file is locked, and says so after a while."""
    line = "waiting for another command, perhaps a suspended one, that holds the lock %s"
    saying = threading.Timer(SILENT_SECONDS, log.warning, (line, path))
    saying.daemon = True
    saying.start()
    try:
        while not _take(handle, path, shared=shared, wait=True):
            time.sleep(_PAUSE_SECONDS)
    finally:
        saying.cancel()


def _open(path: Path) -> int:
    """The open file of a lock, created if there is none; StoreError if it is a link."""
    with store_errors(f"locking {path}"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            raise StoreError(f"the folder {path.parent} cannot be created: name another") from error
        no_links = getattr(os, "O_NOFOLLOW", 0)
        if not no_links and path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        return os.open(path, os.O_RDWR | os.O_CREAT | no_links, 0o666)


def _take(handle: int, path: Path, *, shared: bool, wait: bool) -> bool:
    """Tries to lock an open file; False if another process holds it."""
    import portalocker

    flags = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
    try:
        portalocker.lock(handle, flags if wait else flags | portalocker.LockFlags.NON_BLOCKING)
        return True
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        if cause.errno not in _NO_LOCKS:
            raise cause from None
        raise StoreError(
            f"the disk of {path} has no locks ({cause.strerror}): have it mounted with them "
            "(Lustre: flock; NFS: version 4, or lockd), or name a store elsewhere with --store"
        ) from error


def _release(handle: int) -> None:
    # Without this, Windows releases it some time after the file is closed.
    import portalocker

    with contextlib.suppress(portalocker.LockException):
        portalocker.unlock(handle)
