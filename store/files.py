"""Files that readers see whole or not at all."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import StoreError
from .parsing import remedy_for

TEMPORARY_PREFIX = ".tmp-"
_NO_LINKS = (
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EINVAL,
)
"""Errors of disks without hard links, or with too many; EINVAL is what Windows says of exFAT."""
_PAUSES_SECONDS = (0.01, 0.05, 0.2, 0.5, 1.0)
"""Between tries to replace a file that is open."""


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


Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of a file: they differ once it is written to or replaced."""


def stamp(path: Path) -> Stamp:
    """The stamp of a file; OSError where it cannot be read."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk; Windows can only do so for a file."""
    folder_flag = getattr(os, "O_DIRECTORY", None)
    if not path.is_dir():
        flags = os.O_RDWR  # without the right to write, Windows does not sync
    elif folder_flag is not None:
        flags = os.O_RDONLY | folder_flag
    else:
        return
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(source: Path, target: Path) -> None:
    """Gives a file its final name, in place of what has that name.

    Windows refuses while the target is open: then it tries again for a moment, because readers of
    small files are soon done.
    """
    for pause_seconds in _PAUSES_SECONDS:
        try:
            source.replace(target)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) is None:
                raise
            time.sleep(pause_seconds)
    source.replace(target)


def temporary_sibling(path: Path) -> Path:
    """A name in the same folder that readers ignore and `gc` may remove."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all, so that it survives a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
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
    return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, path: object) -> Any:
    """The JSON value in the bytes of a file; StoreError where it cannot be parsed."""
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not valid JSON ({error}): {remedy_for(path)}") from error


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name: by a link, or by a copy where the disk has no links."""
    temporary = temporary_sibling(target)
    with store_errors(f"linking {target}"):
        try:
            try:
                os.link(source, temporary)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                shutil.copyfile(source, temporary)
                sync(temporary)
            replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
