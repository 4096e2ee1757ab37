"""Tar shards in buckets and on the web, by fsspec: listed, known by their edges, fetched whole.

A shard is fetched into a file before it is read: a stream that breaks would leave half a shard, and
its samples are read by their place.
"""

import contextlib
import glob
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlparse

from ...store.errors import ConfigError, CppPipeError, ShardError
from ...store.remote_errors import (
    is_bucket_missing,
    is_local_disk_error,
    is_transient,
    lacks_credentials,
    remote_errors,
    why,
)
from ..contract import Place
from .shards import (
    EDGE_BYTES,
    Identified,
    Shard,
    expand_braces,
    natural_key,
    require_unchanged,
)
from .tar_shards import TarSamples, open_tar, stats_name, successes

T = TypeVar("T")

PAUSES_SECONDS = (0.5, 2.0, 8.0)
"""Before another try: what passes in a second, and what a bucket that is overrun asks for."""
_AT_ONCE = 16
"""Shards that are looked at side by side, which is waiting for the most part."""
_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """Where a file lies in a bucket or on the web."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last piece of its path."""
        path = urlparse(self.url).path if self.url.startswith("http") else self.url
        return path.rpartition("/")[2]

    def resolve(self) -> Self:
        """Itself: it means the same everywhere."""
        return self


@dataclass(frozen=True, kw_only=True)
class RemoteShard(Identified):
    """A tar shard in a bucket or on the web; the same one as a copy of it on a disk."""

    path: Address

    @classmethod
    def of(cls, address: Address) -> Self:
        """The shard at an address; reads no more than 128 KiB of it. ShardError if it cannot."""
        size, edges_sha256 = _patiently(lambda: _read_edges(address), address)
        return cls(path=address, name=address.name, size=size, edges_sha256=edges_sha256)

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator[TarSamples]:
        """Its samples, read from a copy in `scratch` that is gone afterwards."""
        local = scratch / f"fetched-{self.name}"
        try:
            _patiently(lambda: _fetch(self.path, local, self.size), self.path)
            stats = _patiently(lambda: _find_stats(self.path), self.path)
            require_unchanged(self.path, Shard.of(local).edges_sha256 == self.edges_sha256)
            with _told_of(self.path, local), open_tar(local, successes(stats)) as samples:
                yield samples
        finally:
            local.unlink(missing_ok=True)


def look_at(addresses: list[Address]) -> list[RemoteShard]:
    """The shards at some addresses, in order, looked at side by side."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(RemoteShard.of, addresses))


def expand_remote(pattern: str) -> tuple[list[Place], list[str]]:
    """The shards that a pattern of addresses names, and the names in it that are not there.

    Braces, globs and folders as on a disk. ShardError where a glob or a folder has no shard.
    """
    found: list[Place] = []
    missing: list[str] = []
    names = expand_braces(pattern)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, shards in zip(names, pool.map(_find, names), strict=True):
            found += [Address(url) for url in shards or ()]
            if shards is None:
                missing.append(name)
    if not found and (len(names) > 1 or glob.has_magic(pattern)):
        raise ShardError(f"{pattern!r} finds no shard: check the address, and what may be read")
    return found, missing


def read_range(url: str, offset: int, size: int) -> bytes:
    """Some bytes at an address; ShardError where they cannot be had."""
    address = Address(url)
    return _patiently(lambda: _read(address, offset, size), address)


def _find(url: str) -> list[str] | None:
    """The shards at one address: itself, those in a folder, those of a glob; None if it is gone."""
    address = Address(url)
    files, path = _open(address)
    # A question mark in an address of the web begins its query.
    if "*" in url or (glob.has_magic(url) and not url.startswith("http")):
        tars = _tars(files, _patiently(lambda: files.glob(path), address))
        if not tars:
            # A glob in a bucket that is not there finds nothing, too; a question for a name tells.
            _patiently(lambda: _find_info(files, path), address)
        return tars
    if not url.endswith("/"):
        info = _patiently(lambda: _find_info(files, path), address)
        if info is None or info["type"] == "file":
            return None if info is None else [url]
    tars = _tars(files, _patiently(lambda: _list(files, path), address))
    if not tars:
        raise ShardError(f"{url!r} finds no shard: no .tar is in that folder")
    return tars


def _find_info(files: Any, path: str) -> dict[str, Any] | None:
    """What is known of a file; None where it is not in its bucket, which must be there."""
    try:
        return files.info(path)
    except FileNotFoundError as error:
        if is_transient(error) or is_bucket_missing(error):
            raise
        return None


def _list(files: Any, path: str) -> list[str]:
    """The paths in a folder, none where it is not there."""
    try:
        return files.ls(path, detail=False)
    except FileNotFoundError as error:
        if is_transient(error) or is_bucket_missing(error):
            raise
        return []


def _tars(files: Any, paths: list[str]) -> list[str]:
    """The addresses of the tars among some paths, in natural order."""
    names = {one: Address(one).name for one in paths}
    tars = [one for one in paths if names[one].endswith(".tar") and names[one][0] != "."]
    full = [one if "://" in one else files.unstrip_protocol(one) for one in tars]
    return sorted(full, key=natural_key)


def _open(address: Address) -> tuple[Any, str]:
    """The file system of an address and the path in it; ConfigError where none is installed."""
    import fsspec

    protocol = address.url.partition("://")[0].lower()
    try:
        return fsspec.url_to_fs(address.url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        package = f"pip install 'cpp-pipe[{extra}]'" if extra else str(error)
        raise ConfigError(f"{address} cannot be read without another package: {package}") from error
    except ValueError as error:
        raise ConfigError(
            f"{address} is of no protocol that is known: s3://, gs:// and https:// are, and what "
            "else fsspec reads"
        ) from error


def _read_edges(address: Address) -> tuple[int, str]:
    files, path = _open(address)
    size = files.info(path)["size"]
    if size is None:
        raise ShardError(f"{address} does not tell its size: download it first")
    edge = size if size <= 2 * EDGE_BYTES else EDGE_BYTES
    digest = sha256(_read(address, 0, edge))
    if edge < size:
        digest.update(_read(address, size - edge, edge))
    return size, digest.hexdigest()


def _read(address: Address, offset: int, size: int) -> bytes:
    """Some bytes; ShardError where there are fewer."""
    files, path = _open(address)
    if size == 0:
        return b""
    if address.url.startswith("http"):
        piece = _read_web(files, address, offset, size)
    else:
        # A file that is opened would ask for its size once more.
        piece = files.cat_file(path, start=offset, end=offset + size)
    if len(piece) != size:
        raise ShardError(f"{address} ends before byte {offset + size}: it was changed")
    return piece


def _read_web(files: Any, address: Address, offset: int, size: int) -> bytes:
    """Some bytes, asked for as a file is read: a server that knows no ranges is told at once."""
    try:
        with files.open(address.url, "rb", block_size=size, cache_type="none") as file:
            file.seek(offset)
            return file.read(size)
    except ValueError as error:
        raise ShardError(
            f"{address} cannot be read in pieces, as its server knows no ranges: download it first"
        ) from error


def _fetch(address: Address, local: Path, size: int) -> None:
    files, path = _open(address)
    files.get_file(path, str(local))
    came = local.stat().st_size
    if came != size:
        files.invalidate_cache()
        require_unchanged(address, files.info(path)["size"] == size)
        raise ConnectionError(f"{came} of {size} bytes came")


def _find_stats(address: Address) -> bytes | None:
    files, path = _open(address)
    try:
        return files.cat_file(stats_name(address.name).join(path.rsplit(address.name, 1)))
    except (FileNotFoundError, PermissionError):
        return None


@contextlib.contextmanager
def _told_of(address: Address, local: Path) -> Iterator[None]:
    """Errors of the copy, told of the address that it came from."""
    try:
        yield
    except ShardError as error:
        raise ShardError(str(error).replace(str(local), str(address))) from error


def _patiently(act: Callable[[], T], address: Address) -> T:
    """What `act` gives, tried again where what went wrong may pass; ShardError at the end."""
    pauses = [*PAUSES_SECONDS]
    while True:
        try:
            return act()
        except CppPipeError:
            raise
        except remote_errors() as error:
            if is_local_disk_error(error):
                raise
            passes = is_transient(error)
            if not (passes and pauses):
                tries = len(PAUSES_SECONDS) + 1 if passes else 1
                raise ShardError(_explain(error, address, tries)) from error
            time.sleep(pauses.pop(0))
        except ValueError as error:
            # botocore says so of AWS_ENDPOINT_URL; anything else is a fault of ours.
            if "endpoint" not in str(error):
                raise
            raise ConfigError(f"{address} cannot be reached: {error}") from error


def _explain(error: Exception, address: Address, tries: int) -> str:
    """What went wrong with an address, and what to do about it."""
    if lacks_credentials(error):
        return (
            f"no credentials for {address} ({why(error)}): AWS_ACCESS_KEY_ID with "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, hold those of s3://, and "
            "GOOGLE_APPLICATION_CREDENTIALS those of gs://; for a public bucket of S3 set "
            "FSSPEC_S3_ANON=true"
        )
    if is_bucket_missing(error):
        bucket = address.url.split("/")[2]
        return f"{address} cannot be read: there is no bucket {bucket!r}; check its name"
    if isinstance(error, PermissionError):
        return (
            f"{address} may not be read ({why(error)}): check whose credentials these are; they "
            "need the rights to list and to read"
        )
    after = f" after {tries} tries" if tries > 1 else ""
    return f"{address} cannot be read{after}: {why(error)}"
