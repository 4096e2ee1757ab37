"""Lists of shards in the notations that people write, and who a shard is before it is read."""

import glob
import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from ...store.digest import digest_json
from ...store.errors import ShardError
from ..contract import Place
from .pattern_hints import compress_names, why_nothing

EDGE_BYTES = 64 * 1024
MOST_NAMES = 1_000_000
"""More names than this in one pattern is a slip of the pen, and would fill the memory."""

_ANGLE_RANGE = re.compile(r"<(\w+\.\.\w+(?:\.\.\d+)?)>")
_NUMBER_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|pipe:")


Expander = Callable[[str], "tuple[list[Place], list[str]]"]
"""What a pattern of addresses finds, and the names in it that are missing."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What patterns stand for."""

    noun: str = "shard"
    suffix: str = ".tar"
    """Of the files that a folder, or a glob without a suffix of its own, stands for."""
    expand_remote: Expander | None = None
    """None where only this machine is looked at."""


@dataclass(frozen=True, kw_only=True)
class Shards:
    """What a list of patterns stands for."""

    found: tuple[Place, ...]
    """Each file once: patterns in their order, what one glob or folder gives in natural order."""
    missing: tuple[str, ...]
    """Names that were spelt out, by braces or in full, and are not there."""
    duplicates: tuple[Place, ...]
    """Files that were named again, by the same or another path; they are read once."""
    noun: str = "shard"

    def describe(self) -> str:
        """One line on what was found and what is missing, and another on what was named twice."""
        total = len(self.found) + len(self.missing)
        noun = self.noun if total == 1 else f"{self.noun}s"
        if not self.missing:
            text = f"found {total} {noun}"
        else:
            missing = compress_names(self.missing)
            text = f"found {len(self.found)} of {total} {noun}; missing: {missing}"
        if self.duplicates:
            twice = compress_names(tuple(str(path) for path in self.duplicates))
            text += f"\nnamed more than once and read once: {twice}"
        return text


def expand(patterns: Sequence[str], wanted: Wanted | None = None) -> Shards:
    """The shards, or whatever is `wanted`, that `patterns` name, before any of them is opened.

    A pattern is a range or a list in braces ('laion/{000..999}.tar', '{a,b}'), a range in angle
    brackets ('<000..999>'), a glob (`*`, `?`, `[...]`, `**`), a folder (its own `*.tar` files),
    `@list.txt` (a pattern a line; blank lines and `#` comments are left out; what is not found
    from the working directory is looked for beside the list), one file, or, where addresses are
    wanted too, any of these at an address ('s3://bucket/{000..999}.tar'). A glob without a
    suffix of its own (`laion/*`) stands for the `.tar` files among its matches.

    Raises ShardError when a pattern finds nothing; a single file that is absent is `missing`
    instead, as a shell may have expanded the braces, unless nothing at all was found.
    """
    wanted = wanted or Wanted()
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise ShardError("no shards are named: give a pattern such as 'laion/{000..999}.tar'")
    found: list[Place] = []
    missing: list[str] = []
    for pattern in patterns:
        more, absent = _expand_pattern(pattern, wanted)
        found += more
        missing += absent
    if not found:
        hint = _why_missing(missing[0], wanted)
        if len(patterns) > 1:
            hint += "; if the shell expanded a pattern, quote it: 'laion/{000..999}.tar'"
        raise ShardError(f"none of the {len(missing)} {wanted.noun}s named exists: {hint}")
    first_by_file: dict[str, Place] = {}
    duplicates: list[Place] = []
    for place in found:
        if first_by_file.setdefault(str(place.resolve()), place) is not place:
            duplicates.append(place)
    return Shards(
        found=tuple(first_by_file.values()),
        missing=tuple(dict.fromkeys(missing)),
        duplicates=tuple(dict.fromkeys(duplicates)),
        noun=wanted.noun,
    )


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts names as people do: shard-9 before shard-10."""
    pieces = re.split(r"(\d+)", name)
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _expand_pattern(
    pattern: str, wanted: Wanted, folders: tuple[Path, ...] = (Path(),)
) -> tuple[list[Place], list[str]]:
    """What one pattern finds, and the names in it that are missing, looked for in `folders`."""
    if not pattern.strip():
        raise ShardError(f"a {wanted.noun} pattern is empty: give one such as '{{000..999}}.tar'")
    if is_remote(pattern):
        if wanted.expand_remote is None or pattern.startswith("pipe:"):
            raise ShardError(
                f"{pattern!r} is not on this machine: only local {wanted.noun}s can be read; "
                "download it first"
            )
        return wanted.expand_remote(pattern)
    if pattern.startswith("@"):
        return _expand_list(Path(pattern[1:]).expanduser(), wanted)
    pattern = str(Path(pattern).expanduser())
    names = expand_braces(pattern) if _find(pattern, folders) is None else [pattern]
    found: list[Place] = []
    missing: list[str] = []
    for name in names:
        path = _find(name, folders)
        if path is not None:
            found += _files_in(path, wanted) if path.is_dir() else [path]
        elif glob.has_magic(name):
            found += _glob(name, wanted, folders)
        else:
            missing.append(name)
    if not found and (len(names) > 1 or glob.has_magic(pattern)):
        hint = why_nothing(names[0], wanted.suffix)
        raise ShardError(f"{pattern!r} finds no {wanted.noun}: {hint}")
    return found, missing


def is_remote(pattern: str) -> bool:
    """Whether a pattern or a place is an address, not a path."""
    return _REMOTE.match(pattern) is not None


def _why_missing(name: str, wanted: Wanted) -> str:
    return (
        f"{name} is not there, or may not be read"
        if is_remote(name)
        else why_nothing(name, wanted.suffix)
    )


def _find(name: str, folders: tuple[Path, ...]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _glob(name: str, wanted: Wanted, folders: tuple[Path, ...]) -> list[Path]:
    """The files that a glob matches in the first folder where it matches any."""
    suffix = Path(name).suffix
    names_a_suffix = suffix != "" and not glob.has_magic(suffix)
    for folder in folders:
        matches = [Path(match) for match in glob.glob(str(folder / name), recursive=True)]
        kept = [m for m in matches if m.is_file() and (names_a_suffix or m.suffix == wanted.suffix)]
        if kept:
            return sorted(kept, key=lambda path: natural_key(str(path)))
    return []


def _files_in(folder: Path, wanted: Wanted) -> list[Path]:
    """The files that are wanted directly in a folder; ShardError tells what is there instead."""
    # Names that start with a dot are what macOS and unfinished downloads leave behind.
    own = [path for path in folder.glob(f"*{wanted.suffix}") if not path.name.startswith(".")]
    files = [path for path in own if path.is_file()]
    if not files:
        hint = why_nothing(str(folder / f"*{wanted.suffix}"), wanted.suffix)
        raise ShardError(f"{str(folder)!r} finds no {wanted.noun}: {hint}")
    return sorted(files, key=lambda path: natural_key(path.name))


def _expand_list(path: Path, wanted: Wanted) -> tuple[list[Place], list[str]]:
    """What the patterns in a text file find."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"the list of {wanted.noun}s {path} cannot be read: {error}") from error
    patterns = [line.strip() for line in lines]
    patterns = [line for line in patterns if line and not line.startswith("#")]
    if not patterns:
        raise ShardError(f"the list of {wanted.noun}s {path} names none: write one pattern a line")
    found: list[Place] = []
    missing: list[str] = []
    for pattern in patterns:
        if pattern.startswith("@"):
            raise ShardError(f"{path} names the list {pattern!r}: a list may not hold lists")
        more, absent = _expand_pattern(pattern, wanted, (Path(), path.parent))
        found += more
        missing += absent
    if not found:
        hint = _why_missing(missing[0], wanted)
        raise ShardError(f"none of the {wanted.noun}s in {path} exists: {hint}")
    return found, missing


def expand_braces(pattern: str) -> list[str]:
    """The names that braces and angle brackets stand for; zeros in front are kept."""
    from braceexpand import braceexpand

    braced = _ANGLE_RANGE.sub(r"{\1}", pattern)
    ranges = [abs(int(last) - int(first)) for first, last in _NUMBER_RANGE.findall(braced)]
    try:
        if max(ranges, default=0) < MOST_NAMES:
            names = braceexpand(braced, escape=False)
            names = list(itertools.islice(names, MOST_NAMES + 1))
            if len(names) <= MOST_NAMES:
                return names
    except ValueError as error:
        raise ShardError(
            f"the braces in {pattern!r} do not match: a range is written {{000..999}}"
        ) from error
    raise ShardError(f"{pattern!r} names more than {MOST_NAMES} shards: check its ranges")


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A file that is known by what does not change when it is moved or copied."""

    name: str
    size: int
    edges_sha256: str
    """Digest of the first and the last 64 KiB, or of all bytes where there are no more."""

    @property
    def identity(self) -> str:
        """Digest, in hex, of the name, the size and the edges."""
        return digest_json(
            {"name": self.name, "size": self.size, "edges_sha256": self.edges_sha256}
        )

    @property
    def part_name(self) -> str:
        """The name of the part that this file becomes: safe in any file system."""
        return part_name(Path(self.name).stem, self.identity)


@dataclass(frozen=True, kw_only=True)
class Shard(Identified):
    """A file on this machine."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> Self:
        """The shard at `path`; reads no more than 128 KiB of it. ShardError if it cannot."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                is_small = size <= 2 * EDGE_BYTES
                digest = sha256(file.read(size if is_small else EDGE_BYTES))
                if not is_small:
                    file.seek(size - EDGE_BYTES)
                    digest.update(file.read(EDGE_BYTES))
        except OSError as error:
            raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error
        return cls(path=path, name=path.name, size=size, edges_sha256=digest.hexdigest())


def stamp(path: Path) -> tuple[int, int, int, int]:
    """What tells, beside its bytes, that a file was written to or replaced."""
    try:
        found = path.stat()
    except OSError as error:
        raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def require_unchanged(path: Place, unchanged: bool) -> None:
    """ShardError where what lies at a path became something else while it was embedded."""
    if not unchanged:
        raise ShardError(
            f"{path} was changed while it was embedded: nothing of it is kept; run the same "
            "command again when it no longer changes"
        )


def part_name(stem: str, identity: str) -> str:
    """`stem` in letters that every file system takes, and enough of `identity` to tell it apart."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", stem)[:100].strip(".") or "shard"
    return f"{safe}-{identity[:8]}"
