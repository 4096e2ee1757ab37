"""Tar shards as sources of samples."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....store.facts import whole
from ..faults import Fault
from ..fields import SampleFields, read_fields
from ..shards import Shard, require_unchanged, stamp
from .listing import SampleEntry, ShardListing, scan
from .shard_bytes import ShardBytes, open_shard


@dataclass(frozen=True, kw_only=True)
class TarShard(Shard):
    """A tar shard on this machine."""

    def count_samples(self) -> int | None:
        """The number that img2dataset counted, if its counts lie beside the shard."""
        return parse_successes(find_stats(self.path))

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator["TarSamples"]:
        """Opens its samples, read by position; ShardError if the file changes meanwhile."""
        before = stamp(self.path)
        with open_tar(self.path, parse_successes(find_stats(self.path))) as samples:
            yield samples
        is_unchanged = (
            stamp(self.path) == before
            and type(self).of(self.path).with_content(self.content).identity == self.identity
        )
        require_unchanged(self.path, is_unchanged)


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One sample of an open tar."""

    entry: SampleEntry
    shard: ShardBytes

    @property
    def key(self) -> str:
        """Unique in the shard."""
        return self.entry.key

    @property
    def offset(self) -> int:
        """Position at which its image's bytes start in the tar."""
        return self.entry.image.offset

    @property
    def size(self) -> int:
        """Bytes of its image."""
        return self.entry.image.size

    def read_image(self) -> bytes:
        """The encoded image."""
        return self.shard.read(self.entry.image)

    def fields(self) -> SampleFields:
        """The fields in its text members."""
        sizes = {suffix: span.size for suffix, span in self.entry.members.items()}
        return read_fields(sizes, lambda suffix: self.shard.read(self.entry.members[suffix]))


@dataclass(frozen=True, kw_only=True)
class TarSamples:
    """The samples of an open tar."""

    listing: ShardListing
    shard: ShardBytes
    samples: tuple[TarEntry, ...]
    facts: Mapping[str, Any]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Samples without a readable image."""
        return self.listing.faults

    @property
    def complete(self) -> bool:
        """Whether the tar was read to its end mark."""
        return self.listing.complete

    @property
    def why_cut(self) -> str | None:
        """Why the tar was not read to its end mark; None if it was."""
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
    """Opens the samples of the tar at `path`; `stats_successes` is img2dataset's own count."""
    listing = scan(path)
    facts = {} if stats_successes is None else {"stats_successes": stats_successes}
    left_out = {"left_out": dict(listing.left_out)} if listing.left_out else {}
    with open_shard(path) as shard:
        yield TarSamples(
            listing=listing,
            shard=shard,
            samples=tuple(TarEntry(entry, shard) for entry in listing.samples),
            facts={"source": "tar", **facts, **left_out},
        )


def stats_name(name: str) -> str:
    """The name of the file in which img2dataset counts the samples of a shard."""
    return f"{name.removesuffix('.tar')}_stats.json"


def find_stats(path: Path) -> bytes | None:
    """The content of img2dataset's file of counts beside a shard; None if there is none."""
    try:
        return path.with_name(stats_name(path.name)).read_bytes()
    except OSError:
        return None


def parse_successes(stats: bytes | None) -> int | None:
    """How many samples img2dataset reports to have written; None if it reports no such number."""
    try:
        value = json.loads(stats) if stats else None
    except (ValueError, RecursionError):
        return None
    count = value.get("successes") if isinstance(value, dict) else None
    return count if whole().is_right(count) else None
