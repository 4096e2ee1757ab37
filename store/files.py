"""Writing so that a reader sees all of a file or nothing, and locks that die with their owner."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import StoreError

TEMPORARY_PREFIX = ".tmp-"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Of disks that are mounted without locks: Lustre by default, NFS 3 without its daemon."""


@contextlib.contextmanager
def store_errors(
    doing: str, allow: str = "make the store writable or name another with --store"
) -> Iterator[None]:
    """Turns the operating system's refusals into a StoreError that says what to do next.

    `doing` is what was under way and where, as in "writing artifacts/heads/12ab"; `allow` says what
    helps where that is not allowed.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(
                f"no space left while {doing}: free some and run the same command again; "
                "finished parts are kept"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(f"not allowed to write while {doing}: {allow}") from error
        if error.errno == errno.ELOOP:
            raise StoreError(f"a link stands in the way while {doing}: remove the link") from error
        raise


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_sibling(path: Path) -> Path:
    """A name in the same folder that no reader looks at and `gc` may remove."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all, and survives a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all."""
    with store_errors(f"writing {path}"):
        write_whole(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """A JSON value as the small files of the store hold it; NaN is refused."""
    return f"{json.dumps(value, indent=1, allow_nan=False)}\n".encode()


def read_json(path: Path) -> Any:
    """The JSON value in a file of the store; StoreError names a file that is not whole."""
    return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, path: object) -> Any:
    """The JSON value in the bytes of a file; StoreError names a file that is not whole."""
    try:
        return json.loads(content.decode())
    except ValueError as error:
        raise StoreError(
            f"{path} is not the JSON it should be ({error}): restore it or remove its folder"
        ) from error


def link_or_copy(source: Path, target: Path) -> None:
    """Makes the same bytes appear under a second name, without a copy where the disk allows."""
    temporary = temporary_sibling(target)
    with store_errors(f"linking {target}"):
        try:
            try:
                os.link(source, temporary)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
                shutil.copyfile(source, temporary)
                sync(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Holds a lock that the operating system releases when its owner dies; tells if it is held.

    Without `wait` a lock that another process holds yields False at once.
    """
    with store_errors(f"locking {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(handle, mode if wait else mode | fcntl.LOCK_NB)
            is_held = True
        except BlockingIOError:
            is_held = False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise StoreError(
                f"the disk of {path} has no locks ({error.strerror}): have it mounted with them "
                "(Lustre: flock; NFS: version 4, or lockd), or name a store elsewhere with --store"
            ) from error
        yield is_held
    finally:
        os.close(handle)
