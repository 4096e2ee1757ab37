"""Objects in a bucket, read and written whole; failures become errors of one line."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ConfigError, CppPipeError, StoreError
from .files import json_bytes, parse_json
from .remote_errors import (
    forget_clients,
    is_bucket_missing,
    is_local_disk_error,
    lacks_credentials,
    remote_errors,
    why,
)

if TYPE_CHECKING:
    from upath import UPath

T = TypeVar("T")
U = TypeVar("U")

_AT_ONCE = 16
"""Requests in parallel: each mostly waits."""
_BLOCK_BYTES = 2**23
"""Bytes read at a time to digest an object."""
_PAUSES_SECONDS = (0.2, 1.0, 3.0)
"""Before retries to create an object that another process is creating at the same time."""
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


def each(act: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """The results of `act`, in order; in parallel."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(act, items))


@contextlib.contextmanager
def bucket_errors(doing: str, path: "UPath") -> Iterator[None]:
    """Turns errors of the libraries behind fsspec into an error that says what to do.

    `doing` is the work, such as "reading". Errors of this machine's disk pass unchanged.
    """
    try:
        yield
    except CppPipeError:
        raise
    except ImportError as error:
        extra = _EXTRAS.get(path.protocol)
        package = f"pip install 'cpp-pipe[{extra}]'" if extra else str(error)
        raise ConfigError(f"the store {path} needs another package: {package}") from error
    except ValueError as error:
        # botocore raises it for a wrong AWS_ENDPOINT_URL; any other ValueError is a bug.
        if "endpoint" not in str(error):
            raise
        raise ConfigError(f"{path} cannot be reached: {error}") from error
    except remote_errors() as error:
        if is_local_disk_error(error):
            raise
        forget_clients(error, path.protocol)
        raise _explain(error, doing, path) from error


def _explain(error: Exception, doing: str, path: "UPath") -> StoreError:
    bucket = str(path).split("/")[2]
    if lacks_credentials(error):
        return StoreError(
            f"no credentials for {path} ({why(error)}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY, or whatever else the library behind "
            f"{path.protocol}:// reads"
        )
    if is_bucket_missing(error):
        return StoreError(
            f"there is no bucket {bucket!r} for {path}: make it, or name another with --store"
        )
    if isinstance(error, PermissionError):
        return StoreError(
            f"permission denied while {doing} {path} ({why(error)}): a store needs the rights to "
            "list, read, write and delete the objects below it; check whose credentials are used"
        )
    if isinstance(error, FileNotFoundError):
        return StoreError(
            f"{path} is missing: restore it, or remove the folder of its version and run the "
            "command again"
        )
    return StoreError(
        f"{doing} {path} failed ({why(error)}): check the address and the network, and run the "
        "same command again; finished parts are kept"
    )


def find(path: "UPath") -> bytes | None:
    """The bytes of an object; None if it does not exist or is empty."""
    with bucket_errors("reading", path):
        try:
            # With `start` s3fs does not ask for the size first, which would be another request.
            return path.fs.cat_file(path.path, start=0)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return None


def find_json(path: "UPath") -> Any | None:
    """The JSON value in an object; None if it does not exist."""
    content = find(path)
    return None if content is None else parse_json(content, path)


def write_whole(path: "UPath", content: bytes) -> None:
    """Writes an object with one request: readers see the old bytes or all the new ones."""
    with bucket_errors("writing", path):
        path.fs.pipe_file(path.path, content)


def write_json(path: "UPath", value: Any) -> None:
    """Writes a JSON value as an object."""
    write_whole(path, json_bytes(value))


def create_json(path: "UPath", value: Any) -> bool:
    """Creates an object; False if one exists, which stays."""
    content = json_bytes(value)
    pauses = [*_PAUSES_SECONDS]
    while True:
        with bucket_errors("writing", path):
            try:
                path.fs.pipe_file(path.path, content, mode="create")
                return True
            except FileExistsError:
                # It is our own if the answer to the first request was lost and s3fs retried.
                return find(path) == content
            except OSError as error:
                # S3's answer if another process is creating the same object.
                if not pauses or "ConditionalRequestConflict" not in str(error):
                    raise
        time.sleep(pauses.pop(0))


def upload(local: Path, path: "UPath") -> None:
    """Writes an object from a file."""
    with bucket_errors("writing", path):
        path.fs.put_file(str(local), path.path)


def download(path: "UPath", local: Path) -> None:
    """Writes a file from an object."""
    with bucket_errors("reading", path):
        path.fs.get_file(path.path, str(local))


def copy(source: "UPath", target: "UPath") -> None:
    """Copies an object within its bucket, without its bytes passing this machine."""
    with bucket_errors("copying", source):
        source.fs.cp_file(source.path, target.path)


def digest(path: "UPath") -> str:
    """SHA-256, in hex, of the bytes of an object, which are all read."""
    with (
        bucket_errors("reading", path),
        path.fs.open(path.path, "rb", block_size=_BLOCK_BYTES) as file,
    ):
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: "UPath") -> int | None:
    """Size of an object in bytes; None if it does not exist."""
    with bucket_errors("reading", path):
        try:
            entry = path.fs.info(path.path)
        except FileNotFoundError:
            return None
    return entry["size"] if entry["type"] == "file" else None


def age_seconds(path: "UPath") -> float:
    """Seconds since an object was written, by the bucket's clock and this machine's."""
    with bucket_errors("reading", path):
        return time.time() - path.stat().st_mtime


def written_seconds(path: "UPath") -> float | None:
    """When an object was last written, by the bucket's clock.

    None if it does not exist, or the bucket does not say.
    """
    with bucket_errors("reading", path):
        try:
            return path.stat().st_mtime or None
        except FileNotFoundError:
            return None


def sizes(path: "UPath") -> dict["UPath", int]:
    """Bytes of each object below a path, or of the object at the path; sorted by path."""
    with bucket_errors("listing", path):
        try:
            entries = path.fs.find(path.path, detail=True)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return {}
    start = len(path.path.rstrip("/")) + 1
    return {
        path / name[start:] if name[start:] else path: entry["size"]
        for name, entry in sorted(entries.items())
    }


def folders(path: "UPath") -> list["UPath"]:
    """The folders directly below a path, sorted."""
    with bucket_errors("listing", path):
        try:
            entries = path.fs.ls(path.path, detail=True)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return []
    names = [entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory"]
    return [path / name.rpartition("/")[2] for name in sorted(names)]


def remove(paths: Iterable["UPath"]) -> None:
    """Removes objects; ignores those that are gone already."""
    each(_remove, paths)


def _remove(path: "UPath") -> None:
    with bucket_errors("removing", path), contextlib.suppress(FileNotFoundError):
        path.fs.rm_file(path.path)
