"""The identity of a file of samples, known before all of it is read."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Self

from ...store import files
from ...store.digest import digest_json
from ...store.errors import ShardError
from ...store.files import Stamp
from ...store.names import is_plain_name
from ..contract import Place, Source

EDGE_BYTES = 64 * 1024
NAME_DIGITS = 8
"""Least digits of an identity in a part's name; more if two identities share these."""


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A file identified by properties that moving or copying it does not change."""

    name: str
    size: int
    edges_sha256: str
    """Digest of the first and the last 64 KiB, or of the whole file if it has no more."""
    content: str = ""
    """Digest of all bytes, if the edges do not tell this file from an earlier one."""
    stamp: str = field(default="", compare=False)
    """See `Source.stamp`."""

    @property
    def identity(self) -> str:
        """Digest, in hex, of the name, the size and the edges, and of the content if it is set."""
        known = {"name": self.name, "size": self.size, "edges_sha256": self.edges_sha256}
        return digest_json({**known, "content": self.content} if self.content else known)

    def with_content(self, content: str) -> Self:
        """The same file with its content in its identity."""
        return replace(self, content=content)

    @property
    def part_name(self) -> str:
        """The name of the part that this file becomes; safe in any file system."""
        return part_name(Path(self.name).stem, self.identity)


@dataclass(frozen=True, kw_only=True)
class Shard(Identified):
    """A file on this machine."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> Self:
        """The shard at `path`; reads at most 128 KiB of it. ShardError if that fails."""
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                size = status.st_size
                is_small = size <= 2 * EDGE_BYTES
                digest = sha256(file.read(size if is_small else EDGE_BYTES))
                if not is_small:
                    file.seek(size - EDGE_BYTES)
                    digest.update(file.read(EDGE_BYTES))
        except OSError as error:
            raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error
        return cls(
            path=path,
            name=path.name,
            size=size,
            edges_sha256=digest.hexdigest(),
            stamp=stamp_of([status.st_mtime_ns]),
        )


def stamp_of(times_ns: Sequence[int]) -> str:
    """The stamp of a source whose files were last written to at these times."""
    return f"{max(times_ns, default=0)}:{digest_json(list(times_ns))[:16]}"


def stamp(path: Path) -> Stamp:
    """The stamp of a shard; ShardError if it cannot be read."""
    try:
        return files.stamp(path)
    except OSError as error:
        raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error


def require_unchanged(path: Place, is_unchanged: bool) -> None:
    """ShardError if a source changed while it was embedded."""
    if not is_unchanged:
        raise ShardError(
            f"{path} was changed while it was embedded: nothing of it is kept; run the same "
            "command again when it no longer changes"
        )


def part_name(stem: str, identity: str) -> str:
    """`stem` in characters that every file system allows, and a piece of `identity`."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", stem)[:100].strip(".") or "shard"
    name = f"{safe}-{identity[:NAME_DIGITS]}"
    return name if is_plain_name(name) else f"_{name}"


def by_part(
    sources: Iterable[Source],
) -> tuple[dict[str, Source], list[tuple[Source, Source]]]:
    """The sources by the name of their part, in order, and each copy with the source it repeats.

    Sources are copies of each other if their identities are equal. Of several identities that
    would give the same name, the smallest has it, and the others take more of their digits.
    """
    first: dict[tuple[str, str], Source] = {}
    copies: list[tuple[Source, Source]] = []
    for source in sources:
        known = first.setdefault((source.part_name, source.identity), source)
        if known is not source:
            copies.append((source, known))
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for name, identity in sorted(first):
        digits, longer = NAME_DIGITS, name
        while longer in taken:
            digits += 1
            longer = f"{name.rpartition('-')[0]}-{identity[:digits]}"
        taken.add(longer)
        names[name, identity] = longer
    return {names[known]: source for known, source in first.items()}, copies


def is_named(source: Source, part: str) -> bool:
    """Whether a part's name is one that this source may have: see `by_part`."""
    stem, _, digits = part.rpartition("-")
    is_long_enough = len(digits) >= NAME_DIGITS
    return (
        is_long_enough
        and stem == source.part_name.rpartition("-")[0]
        and source.identity.startswith(digits)
    )
