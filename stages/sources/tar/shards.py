"""Tar shards as sources of samples."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..faults import Fault
from ..fields import SampleFields, ShardBytes, fields, open_shard
from ..shards import Shard, require_unchanged, stamp
from .listing import SampleEntry, ShardListing, scan


@dataclass(frozen=True, kw_only=True)
class TarShard(Shard):
    """A tar shard on this machine."""

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator["TarSamples"]:
        """Its samples, read by their place in the file; ShardError where it changes meanwhile."""
        before = stamp(self.path)
        with open_tar(self.path, successes(find_stats(self.path))) as samples:
            yield samples
        is_same = stamp(self.path) == before and type(self).of(self.path).identity == self.identity
        require_unchanged(self.path, is_same)


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One sample of a tar that is open."""

    entry: SampleEntry
    shard: ShardBytes

    @property
    def key(self) -> str:
        """Unique in the shard."""
        return self.entry.key

    @property
    def offset(self) -> int:
        """Where the bytes of its image start in the tar."""
        return self.entry.image.offset

    @property
    def size(self) -> int:
        """How many bytes its image has."""
        return self.entry.image.size

    def read_image(self) -> bytes:
        """The encoded image."""
        return self.shard.read(self.entry.image)

    def fields(self) -> SampleFields:
        """What its other members say."""
        return fields(self.entry, self.shard)


@dataclass(frozen=True, kw_only=True)
class TarSamples:
    """The samples of a tar that is open."""

    listing: ShardListing
    shard: ShardBytes
    samples: tuple[TarEntry, ...]
    facts: Mapping[str, Any]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Samples without an image that can be read."""
        return self.listing.faults

    @property
    def complete(self) -> bool:
        """Whether the tar was read to its end mark."""
        return self.listing.complete

    @property
    def why_cut(self) -> str | None:
        """Why it was not."""
        return self.listing.why_cut

    @property
    def suffixes(self) -> Counter[str]:
        """How many members have each suffix."""
        return self.listing.suffixes

    def sha256(self) -> str:
        """SHA-256, in hex, of the whole tar."""
        return self.shard.sha256()


@contextlib.contextmanager
def open_tar(path: Path, stats_successes: int | None) -> Iterator[TarSamples]:
    """The samples of the tar at `path`, and what img2dataset counted in it, if it did."""
    listing = scan(path)
    facts = {} if stats_successes is None else {"stats_successes": stats_successes}
    with open_shard(path) as shard:
        yield TarSamples(
            listing=listing,
            shard=shard,
            samples=tuple(TarEntry(one, shard) for one in listing.samples),
            facts={"source": "tar", **facts},
        )


def stats_name(name: str) -> str:
    """The name of img2dataset's file of counts beside the shard of this name."""
    return f"{name.removesuffix('.tar')}_stats.json"


def find_stats(path: Path) -> bytes | None:
    """What stands in img2dataset's file of counts beside a shard, if there is one."""
    try:
        return path.with_name(stats_name(path.name)).read_bytes()
    except OSError:
        return None


def successes(stats: bytes | None) -> int | None:
    """How many samples img2dataset says that it wrote; None where it says nothing of it."""
    try:
        value = json.loads(stats) if stats else None
    except (ValueError, RecursionError):
        return None
    count = value.get("successes") if isinstance(value, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None
