"""Tar shards in buckets and on the web, through fsspec.

A shard is identified by its edges, and downloaded whole before it is read: samples are read by
position, and a stream that breaks would leave half a shard.
"""

import contextlib
import glob
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlparse

from ...store.errors import ConfigError, CppPipeError, ShardError
from ...store.remote_errors import (
    forget_clients,
    is_bucket_missing,
    is_local_disk_error,
    is_transient,
    lacks_credentials,
    remote_errors,
    why,
)
from ..contract import Place
from .patterns import expand_braces, natural_key
from .shards import EDGE_BYTES, Identified, Shard, require_unchanged
from .tar.shards import TarSamples, open_tar, parse_successes, stats_name

T = TypeVar("T")

PAUSES_SECONDS = (0.5, 2.0, 8.0)
"""Pauses before another try: for glitches of a second, and for a bucket that is overloaded."""
_THREADS = 16
"""Requests at a time; they mostly wait."""
_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a file in a bucket or on the web."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last component of its path."""
        path = urlparse(self.url).path if self.url.startswith("http") else self.url
        return path.rpartition("/")[2]

    def resolve(self) -> Self:
        """Itself: an address is absolute."""
        return self


@dataclass(frozen=True, kw_only=True)
class RemoteShard(Identified):
    """A tar shard in a bucket or on the web; its identity is that of a local copy."""

    path: Address

    def count_samples(self) -> None:
        """Not known before the shard is downloaded."""

    @classmethod
    def of(cls, address: Address) -> Self:
        """The shard at an address; reads at most 128 KiB of it. ShardError if that fails."""
        info, edges_sha256 = _retry(lambda: _read_edges(address), address)
        return cls(
            path=address,
            name=address.name,
            size=info["size"],
            edges_sha256=edges_sha256,
            stamp=_stamp(info),
        )

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator[TarSamples]:
        """Opens its samples from a copy in `scratch`, which is removed afterwards."""
        local = scratch / f"fetched-{self.name}"
        try:
            _retry(lambda: _fetch(self.path, local, self.size), self.path)
            stats = _retry(lambda: _find_stats(self.path), self.path)
            require_unchanged(self.path, Shard.of(local).edges_sha256 == self.edges_sha256)
            with (
                _errors_name(self.path, local),
                open_tar(local, parse_successes(stats)) as samples,
            ):
                yield samples
        finally:
            local.unlink(missing_ok=True)


def identify_shards(addresses: list[Address]) -> list[RemoteShard]:
    """The shards at some addresses, in order; several requests run at a time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(RemoteShard.of, addresses))


def expand_remote(pattern: str) -> tuple[list[Place], list[str]]:
    """The shards that a pattern of addresses names, and the names in it that are missing.

    Takes braces, globs and folders, as for local files. ShardError if a glob or a folder has no
    shard.
    """
    places: list[Place] = []
    missing: list[str] = []
    names = expand_braces(pattern)
    with ThreadPoolExecutor(_THREADS) as pool:
        for name, shards in zip(names, pool.map(_find, names), strict=True):
            places += [Address(url) for url in shards or ()]
            if shards is None:
                missing.append(name)
    if not places and (len(names) > 1 or glob.has_magic(pattern)):
        raise ShardError(f"{pattern!r} finds no shard: check the address and your right to read")
    return places, missing


def read_range(url: str, offset: int, size: int) -> bytes:
    """`size` bytes at an address, from `offset` on; ShardError if they cannot be read."""
    address = Address(url)
    return _retry(lambda: _read(address, offset, size), address)


def _find(url: str) -> list[str] | None:
    """The shards at one address: a file, a folder or a glob; None if nothing is there."""
    address = Address(url)
    files, path = _open(address)
    # In a web address, a question mark begins the query.
    if "*" in url or (glob.has_magic(url) and not url.startswith("http")):
        tars = _tars(files, _retry(lambda: files.glob(path), address))
        if not tars:
            # In a missing bucket a glob finds nothing, while a request for a name raises.
            _retry(lambda: _find_info(files, path), address)
        return tars
    if not url.endswith("/"):
        info = _retry(lambda: _find_info(files, path), address)
        if info is None or info["type"] == "file":
            return None if info is None else [url]
    tars = _tars(files, _retry(lambda: _list(files, path), address))
    if not tars:
        raise ShardError(f"{url!r} finds no shard: that folder holds no .tar")
    return tars


def _find_info(files: Any, path: str) -> dict[str, Any] | None:
    """fsspec's info about a file; None if it does not exist. The bucket must exist."""
    try:
        return files.info(path)
    except FileNotFoundError as error:
        if is_transient(error) or is_bucket_missing(error):
            raise
        return None


def _list(files: Any, path: str) -> list[str]:
    """The paths in a folder; none if it does not exist."""
    try:
        return files.ls(path, detail=False)
    except FileNotFoundError as error:
        if is_transient(error) or is_bucket_missing(error):
            raise
        return []


def _tars(files: Any, paths: list[str]) -> list[str]:
    """The addresses of the tars among some paths, in natural order."""
    names = {path: Address(path).name for path in paths}
    tars = [path for path in paths if names[path].endswith(".tar") and names[path][0] != "."]
    urls = [path if "://" in path else files.unstrip_protocol(path) for path in tars]
    return sorted(urls, key=natural_key)


def _open(address: Address) -> tuple[Any, str]:
    """The file system of an address, and the path in it; ConfigError if it needs a package."""
    import fsspec

    protocol = address.url.partition("://")[0].lower()
    try:
        return fsspec.url_to_fs(address.url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        package = f"pip install 'cpp-pipe[{extra}]'" if extra else str(error)
        raise ConfigError(f"{address} needs another package: {package}") from error
    except ValueError as error:
        raise ConfigError(
            f"{address} has an unknown protocol: use s3://, gs://, https://, or another that "
            "fsspec reads"
        ) from error


def _stamp(info: Mapping[str, Any]) -> str:
    """See `Source.stamp`; empty if the server says nothing that changes with the content."""
    tag = info.get("ETag") or info.get("etag")
    # Clocks of servers differ from ours, so that the time alone proves nothing.
    return f"0:{tag}" if tag else ""


def _read_edges(address: Address) -> tuple[Mapping[str, Any], str]:
    """What fsspec knows about a file, and the digest of its edges."""
    files, path = _open(address)
    info = files.info(path)
    size = info["size"]
    if size is None:
        raise ShardError(f"the server of {address} does not report its size: download it first")
    edge = size if size <= 2 * EDGE_BYTES else EDGE_BYTES
    digest = sha256(_read(address, 0, edge))
    if edge < size:
        digest.update(_read(address, size - edge, edge))
    return info, digest.hexdigest()


def _read(address: Address, offset: int, size: int) -> bytes:
    """`size` bytes from `offset` on; ShardError if there are fewer."""
    files, path = _open(address)
    if size == 0:
        return b""
    if address.url.startswith("http"):
        content = _read_web(files, address, offset, size)
    else:
        # Opening the file would request its size once more.
        content = files.cat_file(path, start=offset, end=offset + size)
    if len(content) != size:
        raise ShardError(f"{address} ends before byte {offset + size}: it was changed")
    return content


def _read_web(files: Any, address: Address, offset: int, size: int) -> bytes:
    """Bytes read through an open file, which refuses at once a server without range requests."""
    try:
        with files.open(address.url, "rb", block_size=size, cache_type="none") as file:
            file.seek(offset)
            return file.read(size)
    except ValueError as error:
        raise ShardError(
            f"{address} cannot be read in pieces, because its server supports no range requests: "
            "download it first"
        ) from error


def _fetch(address: Address, local: Path, size: int) -> None:
    files, path = _open(address)
    files.get_file(path, str(local))
    received = local.stat().st_size
    if received != size:
        files.invalidate_cache()
        require_unchanged(address, files.info(path)["size"] == size)
        raise ConnectionError(f"received {received} of {size} bytes")


def _find_stats(address: Address) -> bytes | None:
    files, path = _open(address)
    try:
        return files.cat_file(stats_name(address.name).join(path.rsplit(address.name, 1)))
    except (FileNotFoundError, PermissionError):
        return None


@contextlib.contextmanager
def _errors_name(address: Address, local: Path) -> Iterator[None]:
    """Makes errors about the local copy name the address that it came from."""
    try:
        yield
    except ShardError as error:
        raise ShardError(str(error).replace(str(local), str(address))) from error


def _retry(act: Callable[[], T], address: Address) -> T:
    """The result of `act`, retried after errors that may pass; ShardError when tries run out."""
    pauses = [*PAUSES_SECONDS]
    while True:
        try:
            return act()
        except CppPipeError:
            raise
        except remote_errors() as error:
            if is_local_disk_error(error):
                raise
            may_pass = is_transient(error)
            if not (may_pass and pauses):
                forget_clients(error, address.url.partition("://")[0].rpartition("::")[2])
                tries = len(PAUSES_SECONDS) + 1 if may_pass else 1
                raise ShardError(_explain(error, address, tries)) from error
            time.sleep(pauses.pop(0))
        except ValueError as error:
            # botocore raises this for a bad AWS_ENDPOINT_URL; any other is our own mistake.
            if "endpoint" not in str(error):
                raise
            raise ConfigError(f"{address} cannot be reached: {error}") from error


def _explain(error: Exception, address: Address, tries: int) -> str:
    """What went wrong with an address, and what to do about it."""
    if lacks_credentials(error):
        return (
            f"no credentials for {address} ({why(error)}): for s3:// set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for gs:// GOOGLE_APPLICATION_CREDENTIALS; for "
            "a public bucket of S3 FSSPEC_S3_ANON=true"
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
