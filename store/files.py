"""Files that readers see whole or not at all, and locks that end with their owner."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import StoreError
from .parsing import remedy_for

TEMPORARY_PREFIX = ".tmp-"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of disks that are mounted without locks: Lustre by default, NFS 3 without lockd."""


@contextlib.contextmanager
def store_errors(
    doing: str, allow: str = "make the store writable or name another with --store"
) -> Iterator[None]:
    """Turns errors of the operating system into a StoreError that says what to do.

    `doing` is the work and its place, such as "writing artifacts/heads/12ab"; `allow` is what to do
    where permission is denied.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(
                f"no space left while {doing}: free some space and run the same command again; "
                "finished parts are kept"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(f"not allowed to write while {doing}: {allow}") from error
        if error.errno == errno.ELOOP:
            raise StoreError(f"a link stands in the way while {doing}: remove the link") from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise StoreError(
                f"{error.filename2 or error.filename} stands in the way while {doing}: remove or "
                "rename it, and run the same command again"
            ) from error
        raise


@contextlib.contextmanager
def reading(path: object) -> Iterator[None]:
    """Turns errors of the operating system into a StoreError that says what cannot be read."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreError(
            f"{path} cannot be read ({why}): make it readable or restore it, or name another store "
            "with --store"
        ) from error


Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of a file: they differ once it is written to or replaced."""


def stamp(path: Path) -> Stamp:
    """The stamp of a file; OSError where it cannot be read."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_sibling(path: Path) -> Path:
    """A name in the same folder that readers ignore and `gc` may remove.

    It names its machine and its process, so that others can see whether these still write.
    """
    owner = f"{host_tag()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{owner}")


def host_tag() -> str:
    """Eight hex digits that stand for this machine."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all, so that it survives a crash."""
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
    """A JSON value as the bytes of a small file; refuses NaN."""
    return f"{json.dumps(value, indent=1, allow_nan=False)}\n".encode()


def read_json(path: Path) -> Any:
    """The JSON value in a file of the store; StoreError where it cannot be parsed."""
    with reading(path):
        return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, path: object) -> Any:
    """The JSON value in the bytes of a file; StoreError where it cannot be parsed."""
    try:
        return json.loads(content.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not valid JSON ({error}): {remedy_for(path)}") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name: by a link, or by a copy where the disk has no links."""
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
    """Holds a lock, which the operating system releases when its owner ends.

    Yields whether it is held: without `wait` False at once where another process holds it.
    """
    with store_errors(f"locking {path}"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            raise StoreError(f"the folder {path.parent} cannot be created: name another") from error
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
