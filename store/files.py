"""Files that readers see whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import StoreError, is_limit
from .parsing import remedy_for

if TYPE_CHECKING:
    import numpy as np

TEMPORARY_PREFIX = ".tmp-"
_MOST_BYTES_OF_NAME = 200
"""A name on a disk has 255 bytes at most, and a temporary one says more than its file's."""
DIGEST = "digest"
"""The first field of a small file: the SHA-256 of the bytes that follow its line."""
_BEGINNING = "{\n"
_DIGESTED = re.compile(rb'\{\n "digest": "([0-9a-f]{64})",\n')
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LONGEST_ON_WINDOWS = 248
"""Characters of a folder's path, unless long paths are enabled."""
_LONG_PATHS = ", or enable long paths in Windows" if os.name == "nt" else ""
_BROKEN = (errno.EIO, errno.ESTALE) if hasattr(errno, "ESTALE") else (errno.EIO,)
"""Errors of disks that fail, and of network disks that are gone."""
_NO_LINKS = (
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EINVAL,
)
"""Errors of disks without hard links, or with too many; EINVAL is what Windows says of exFAT."""
_NO_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)
"""Errors of disks that sync no folders, such as shared ones of virtual machines."""
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
    except _write_errors() as error:
        if is_disk_full(error):
            raise StoreError(
                f"no space left while {doing}: free some space and run the same command again; "
                "finished parts are kept"
            ) from error
        if not isinstance(error, OSError):
            raise
        if is_path_too_long(error):
            raise StoreError(
                f"a path is too long while {doing}: name a store with a shorter path with --store"
                f"{_LONG_PATHS}"
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
        if error.errno in _BROKEN and error.filename is None:
            raise StoreError(
                f"{error.strerror} while {doing}: check its disk, and run the same command again"
            ) from error
        raise


@contextlib.contextmanager
def naming(what: object) -> Iterator[None]:
    """Lets errors of the operating system name a file: those of open files name none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(what)
        raise


def is_about(error: OSError, *places: Path) -> bool:
    """Whether an error may be about one of these, what lies in them, or a folder above them.

    An error that names no file may be about any.
    """
    names = [error.filename, error.filename2]
    named = [Path(os.fsdecode(name)) for name in names if isinstance(name, str | bytes)]
    return not named or any(
        name.is_relative_to(place) or place.is_relative_to(name)
        for name in named
        for place in places
    )


@contextlib.contextmanager
def reading(path: object) -> Iterator[None]:
    """Turns errors of the operating system into a StoreError that says what cannot be read.

    Limits of the system stay as they are: no file is to blame.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if is_limit(error):
            raise
        why = error.strerror or str(error)
        raise StoreError(
            f"{path} cannot be read ({why}): make it readable or restore it, or name another store "
            "with --store"
        ) from error


def _write_errors() -> tuple[type[Exception], ...]:
    """What writing a file may raise: safetensors has an error of its own."""
    safetensors = sys.modules.get("safetensors")
    return (OSError,) if safetensors is None else (OSError, safetensors.SafetensorError)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that a file could not grow.

    NumPy then says only how much it wrote, and safetensors gives the error in words.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_SPACE
    codes = "|".join(map(str, _NO_SPACE))
    said = rf"\d+ requested and \d+ written|\b(?:code:|os error) (?:{codes})\b"
    return re.search(said, str(error)) is not None


def is_path_too_long(error: OSError) -> bool:
    """Whether a path is longer than the system allows; Windows then says that it is not there."""
    if error.errno == errno.ENAMETOOLONG:
        return True
    is_missing = getattr(error, "winerror", None) in (3, 206)
    return is_missing and len(str(error.filename2 or error.filename)) >= _LONGEST_ON_WINDOWS


Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of a file: they differ once it is written to or replaced."""


def stamp(path: Path) -> Stamp:
    """The stamp of a file; OSError where it cannot be read."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def reserve(path: Path) -> None:
    """OSError where a disk has no room for all of a file that is mapped to be written.

    The file has its size already, but takes no room until it is written to: without room, writing
    to the mapped file would kill the process. macOS cannot reserve it.
    """
    allocate = getattr(os, "posix_fallocate", None)
    size = path.stat().st_size
    if allocate is not None and size > 0:
        # Opened to be written from its beginning, it would be cut first, and lose its room.
        with path.open("r+b") as file:
            allocate(file.fileno(), 0, size)


def write_array(path: Path, array: "np.ndarray") -> None:
    """Writes a NumPy file; OSError where the disk refuses.

    NumPy itself writes to a file by the C library, and does not notice what fails when it closes.
    """
    import numpy as np

    with path.open("wb") as file:
        np.save(_Pieces(file.write), array, allow_pickle=False)


class _Pieces:
    """What NumPy takes for a file that only Python can write to."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write


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
    except OSError as error:
        if flags == os.O_RDWR or error.errno not in _NO_SYNC:
            raise
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
    """A name in the same folder that readers ignore and `gc` may remove.

    It names its machine and its process, so that others can see whether these still write.
    """
    owner = f"{host_tag()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f"{temporary_beginning(path.name)}{owner}")


def temporary_beginning(name: str) -> str:
    """How the names of a file's temporary siblings begin; a digest stands for a long name."""
    encoded = os.fsencode(name)
    if len(encoded) > _MOST_BYTES_OF_NAME:
        name = hashlib.sha256(encoded).hexdigest()
    return f"{TEMPORARY_PREFIX}{name}-"


def host_tag() -> str:
    """Eight hex digits that stand for this machine."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all, so that it survives a crash."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary file to write in the block, which becomes `path` at its end, or is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        sync(temporary)
        replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all; an object begins with its own digest, unless empty."""
    with store_errors(f"writing {path}"):
        if isinstance(value, Mapping) and value:
            content = json_bytes(value)
        else:
            content = f"{json.dumps(value, indent=1, allow_nan=False)}\n".encode()
        write_whole(path, content)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """A JSON object as the bytes of a small file, which begins with its own digest; refuses NaN."""
    assert value, "a file that says nothing"
    rest = f"{json.dumps(value, indent=1, allow_nan=False)}\n"[len(_BEGINNING) :].encode()
    # The digest comes first: no damage in one place takes it away and leaves what must be there.
    digest = hashlib.sha256(rest).hexdigest()
    return f'{_BEGINNING} "{DIGEST}": "{digest}",\n'.encode() + rest


def read_json(path: Path) -> Any:
    """The JSON value in a file of the store; StoreError where it cannot be parsed."""
    with reading(path):
        return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, path: object) -> Any:
    """The JSON value in the bytes of a small file, without its digest.

    StoreError where it cannot be parsed or has changed since it was written. Files of earlier
    versions have no digest.
    """
    try:
        value = json.loads(content.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not valid JSON ({error}): {remedy_for(path)}") from error
    if isinstance(value, dict) and value.pop(DIGEST, None) is not None:
        found = _DIGESTED.match(content)
        rest = memoryview(content)[found.end() if found else 0 :]
        if found is None or found[1].decode() != hashlib.sha256(rest).hexdigest():
            raise StoreError(
                f"{path} is damaged: it was changed since it was written; {remedy_for(path)}. If "
                f'you changed it yourself, remove its line "{DIGEST}"'
            )
    return value


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
                if error.errno not in _NO_LINKS:
                    raise
                shutil.copyfile(source, temporary)
                sync(temporary)
            replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
