"""Objects in a bucket, read and written whole; what goes wrong there is told in one line."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ConfigError, CppPipeError, StoreError
from .files import json_bytes, parse_json
from .remote_errors import is_bucket_missing, is_our_disk, lacks_credentials, remote_errors, why

if TYPE_CHECKING:
    from upath import UPath

T = TypeVar("T")
U = TypeVar("U")

_AT_ONCE = 16
"""Requests side by side: each waits for the most part."""
_BLOCK_BYTES = 2**23
"""Of an object that is read through without being kept."""
_PAUSES_SECONDS = (0.2, 1.0, 3.0)
"""Before another try to create what another process was creating just then."""
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


def each(act: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """What `act` gives for each, in order; side by side."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(act, items))


@contextlib.contextmanager
def told(doing: str, path: "UPath") -> Iterator[None]:
    """Turns what the libraries behind fsspec raise into an error that says what to do next.

    `doing` is what was under way, as in "reading". Errors of this machine's disk pass.
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
        # botocore says so of AWS_ENDPOINT_URL; anything else is a fault of ours.
        if "endpoint" not in str(error):
            raise
        raise ConfigError(f"{path} cannot be reached: {error}") from error
    except remote_errors() as error:
        if is_our_disk(error):
            raise
        raise _explained(error, doing, path) from error


def _explained(error: Exception, doing: str, path: "UPath") -> StoreError:
    bucket = str(path).split("/")[2]
    if lacks_credentials(error):
        return StoreError(
            f"no credentials for {path}: AWS_PROFILE names some, AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY hold some, and so does what else the library behind "
            f"{path.protocol}:// looks for ({why(error)})"
        )
    if is_bucket_missing(error):
        return StoreError(
            f"there is no bucket {bucket!r} for {path}: make it, or name another with --store"
        )
    if isinstance(error, PermissionError):
        return StoreError(
            f"not allowed while {doing} {path} ({why(error)}): a store needs the rights to list, "
            "read, write and delete the objects under it; check whose credentials these are"
        )
    if isinstance(error, FileNotFoundError):
        return StoreError(
            f"{path} is missing: restore it, or remove the folder of its version and run the "
            "command again"
        )
    return StoreError(
        f"{doing} {path} failed ({why(error)}): check the address and the way to its server, and "
        "run the same command again; finished parts are kept"
    )


def find(path: "UPath") -> bytes | None:
    """The bytes of an object; None where there is none, or nothing in it."""
    with told("reading", path):
        try:
            # With a start s3fs does not ask for the size first, which would be another request.
            return path.fs.cat_file(path.path, start=0)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return None


def find_json(path: "UPath") -> Any | None:
    """The JSON value in an object; None where there is none."""
    content = find(path)
    return None if content is None else parse_json(content, path)


def write_whole(path: "UPath", content: bytes) -> None:
    """Writes an object with one request: readers see what was there before, or all of it."""
    with told("writing", path):
        path.fs.pipe_file(path.path, content)


def write_json(path: "UPath", value: Any) -> None:
    """Writes a JSON value as an object."""
    write_whole(path, json_bytes(value))


def create_json(path: "UPath", value: Any) -> bool:
    """Writes an object that is not there; False where one is, which stays."""
    content = json_bytes(value)
    pauses = [*_PAUSES_SECONDS]
    while True:
        with told("writing", path):
            try:
                path.fs.pipe_file(path.path, content, mode="create")
                return True
            except FileExistsError:
                # It is ours where the answer to a first try was lost, and s3fs has tried again.
                return find(path) == content
            except OSError as error:
                # So S3 answers where another process is creating the same object just then.
                if not pauses or "ConditionalRequestConflict" not in str(error):
                    raise
        time.sleep(pauses.pop(0))


def upload(local: Path, path: "UPath") -> None:
    """Writes an object from a file."""
    with told("writing", path):
        path.fs.put_file(str(local), path.path)


def download(path: "UPath", local: Path) -> None:
    """Writes a file from an object."""
    with told("reading", path):
        path.fs.get_file(path.path, str(local))


def copy(source: "UPath", target: "UPath") -> None:
    """Copies an object within its bucket; its bytes do not come to this machine."""
    with told("copying", source):
        source.fs.cp_file(source.path, target.path)


def digest(path: "UPath") -> str:
    """SHA-256, in hex, of the bytes of an object, read through."""
    with told("reading", path), path.fs.open(path.path, "rb", block_size=_BLOCK_BYTES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: "UPath") -> int | None:
    """Bytes of an object; None where there is none."""
    with told("reading", path):
        try:
            found = path.fs.info(path.path)
        except FileNotFoundError:
            return None
    return found["size"] if found["type"] == "file" else None


def age_seconds(path: "UPath") -> float:
    """How long ago an object was written, by the bucket's clock and this machine's."""
    with told("reading", path):
        return time.time() - path.stat().st_mtime


def sizes(path: "UPath") -> dict["UPath", int]:
    """Bytes of each object below a path, or of the one that lies there, sorted."""
    with told("listing", path):
        try:
            found = path.fs.find(path.path, detail=True)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return {}
    start = len(path.path.rstrip("/")) + 1
    return {
        path / name[start:] if name[start:] else path: one["size"]
        for name, one in sorted(found.items())
    }


def folders(path: "UPath") -> list["UPath"]:
    """What the keys of objects below a path go on with, up to a slash; sorted."""
    with told("listing", path):
        try:
            found = path.fs.ls(path.path, detail=True)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return []
    names = [one["name"].rstrip("/") for one in found if one["type"] == "directory"]
    return [path / name.rpartition("/")[2] for name in sorted(names)]


def remove(paths: Iterable["UPath"]) -> None:
    """Removes objects; those that are gone already are no fault."""
    each(_remove, paths)


def _remove(path: "UPath") -> None:
    with told("removing", path), contextlib.suppress(FileNotFoundError):
        path.fs.rm_file(path.path)
