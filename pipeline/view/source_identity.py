"""Checks that a source is still what was embedded.

A run records where its images lie, and anybody may have written it. So nothing is read from a place
that a run names unless it has the identity that is part of the part's name: the digest of a name, a
size and the edges of the bytes, which nobody can guess for a file that they cannot read.
"""

import ipaddress
import os
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit

from ...stages.sources.changes import forms_of
from ...stages.sources.patterns import is_remote
from ...stages.sources.remote import Address, RemoteShard
from ...stages.sources.shards import is_named
from ...stages.sources.source import SampleSource
from ...stages.sources.tables.files import TableFile
from ...stages.sources.tar.shards import TarShard
from ...store import ShardError
from ...store.files import Stamp, stamp

_FOLLOW_ALL = "CPP_PIPE_FOLLOW_ALL"
_FOLLOWED = ("gcs", "gs", "http", "https", "s3", "s3a")
"""Protocols of the addresses that a run may name."""


def shard_at(place: str) -> TarShard | RemoteShard:
    """The tar shard at a place that a run names; ShardError if it cannot be read."""
    if is_remote(place):
        require_public_address(place)
        return RemoteShard.of(Address(place))
    return TarShard.of(Path(place))


def require_same_shard(place: str, part: str, content: str) -> None:
    """ShardError unless the tar shard at a place is the one that became a part.

    `content` is the digest that the part records of it.
    """
    unchanged = None if is_remote(place) else stamp(Path(place))
    _require(any(is_named(form, part) for form in _shard_forms(place, unchanged, content)))


def require_same_table(path: Path, image_column: str, part: str, content: str) -> None:
    """ShardError unless the table at a path is the one that became a part.

    `content` is the digest that the part records of it.
    """
    forms = _table_forms(path, image_column, stamp(path), content)
    _require(any(is_named(form, part) for form in forms))


def require_inside(root: Path, key: str) -> None:
    """ShardError for a key that names a file outside its folder."""
    for path in (PurePosixPath(key), PureWindowsPath(key)):
        if path.is_absolute() or path.drive or ".." in path.parts:
            raise ShardError(f"the key {key!r} names a file outside of {root}")


def require_public_address(address: str) -> None:
    """ShardError for an address that a run names and that must not be followed.

    Buckets and the web are followed. Chained addresses, other protocols and hosts inside a private
    network are not, because they would let the writer of a store send requests there. Those who
    wrote the store themselves allow them with `CPP_PIPE_FOLLOW_ALL=1`.
    """
    if os.environ.get(_FOLLOW_ALL) == "1":
        return
    protocol, _, rest = address.partition("://")
    if "::" in address or protocol not in _FOLLOWED:
        raise ShardError(
            f"{address} is not followed where a run names it: set {_FOLLOW_ALL}=1 if "
            "you wrote the store yourself"
        )
    if protocol in ("http", "https") and _is_private(urlsplit(address).hostname or rest):
        raise ShardError(
            f"{address} is in a private network and is not followed where a run names it: set "
            f"{_FOLLOW_ALL}=1 if you wrote the store yourself"
        )


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _require(is_same: bool) -> None:
    if not is_same:
        raise ShardError("it is not what was embedded")


@lru_cache(maxsize=65_536)
def _shard_forms(place: str, unchanged: Stamp | None, content: str) -> tuple[SampleSource, ...]:
    return forms_of(shard_at(place), content)


@lru_cache(maxsize=65_536)
def _table_forms(
    path: Path, image_column: str, unchanged: Stamp, content: str
) -> tuple[SampleSource, ...]:
    return forms_of(TableFile.of(path, image_column), content)
