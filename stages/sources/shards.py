"""Lists of shards in the notations that people write, and who a shard is before it is read."""

import glob
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ...store.digest import digest_json
from ...store.errors import ShardError
from .shard_hints import compress_names, why_nothing

EDGE_BYTES = 64 * 1024
MOST_NAMES = 1_000_000
"""More names than this in one pattern is a slip of the pen, and would fill the memory."""

_ANGLE_RANGE = re.compile(r"<(\w+\.\.\w+(?:\.\.\d+)?)>")
_NUMBER_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|pipe:")


@dataclass(frozen=True, kw_only=True)
class Shards:
    """What a list of patterns stands for on this disk."""

    found: tuple[Path, ...]
    """Each file once: patterns in their order, what one glob or folder gives in natural order."""
    missing: tuple[str, ...]
    """Names that were spelt out, by braces or in full, and are not on the disk."""
    duplicates: tuple[Path, ...]
    """Files that were named again, by the same or another path; they are read once."""

    def describe(self) -> str:
        """One line on what was found and what is missing, and another on what was named twice."""
        total = len(self.found) + len(self.missing)
        noun = "shard" if total == 1 else "shards"
        if not self.missing:
            text = f"found {total} {noun}"
        else:
            missing = compress_names(self.missing)
            text = f"found {len(self.found)} of {total} {noun}; missing: {missing}"
        if self.duplicates:
            twice = compress_names(tuple(str(path) for path in self.duplicates))
            text += f"\nnamed more than once and read once: {twice}"
        return text


def expand(patterns: Sequence[str]) -> Shards:
    """The shards that `patterns` name, before any of them is opened.

    A pattern is a range or a list in braces ('laion/{000..999}.tar', '{a,b}'), a range in angle
    brackets ('<000..999>'), a glob (`*`, `?`, `[...]`, `**`), a folder (its own `*.tar` files),
    `@list.txt` (a pattern a line; blank lines and `#` comments are left out; what is not found
    from the working directory is looked for beside the list), or one file. A glob without a
    suffix of its own (`laion/*`) stands for the `.tar` files among its matches.

    Raises ShardError when a pattern finds nothing; a single file that is absent is `missing`
    instead, as a shell may have expanded the braces, unless nothing at all was found.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise ShardError("no shards are named: give a pattern such as 'laion/{000..999}.tar'")
    found: list[Path] = []
    missing: list[str] = []
    for pattern in patterns:
        more, absent = _expand_pattern(pattern)
        found += more
        missing += absent
    if not found:
        hint = why_nothing(missing[0])
        if len(patterns) > 1:
            hint += "; if the shell expanded a pattern, quote it: 'laion/{000..999}.tar'"
        raise ShardError(f"none of the {len(missing)} shards named exists: {hint}")
    first_by_file: dict[str, Path] = {}
    duplicates: list[Path] = []
    for path in found:
        if first_by_file.setdefault(os.path.realpath(path), path) is not path:
            duplicates.append(path)
    return Shards(
        found=tuple(first_by_file.values()),
        missing=tuple(dict.fromkeys(missing)),
        duplicates=tuple(dict.fromkeys(duplicates)),
    )


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts names as people do: shard-9 before shard-10."""
    pieces = re.split(r"(\d+)", name)
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _expand_pattern(pattern: str, folders: tuple[Path, ...] = (Path(),)) -> tuple[list[Path], list]:
    """What one pattern finds, and the names in it that are missing, looked for in `folders`."""
    if not pattern.strip():
        raise ShardError("a shard pattern is empty: give one such as 'laion/{000..999}.tar'")
    if _REMOTE.match(pattern):
        raise ShardError(f"{pattern!r} is not on this machine: only local shards can be read")
    if pattern.startswith("@"):
        return _expand_list(Path(pattern[1:]).expanduser())
    pattern = str(Path(pattern).expanduser())
    names = _expand_braces(pattern) if _find(pattern, folders) is None else [pattern]
    found: list[Path] = []
    missing: list[str] = []
    for name in names:
        path = _find(name, folders)
        if path is not None:
            found += _shards_in(path) if path.is_dir() else [path]
        elif glob.has_magic(name):
            found += _glob(name, folders)
        else:
            missing.append(name)
    if not found and (len(names) > 1 or glob.has_magic(pattern)):
        raise ShardError(f"{pattern!r} finds no shard: {why_nothing(names[0])}")
    return found, missing


def _find(name: str, folders: tuple[Path, ...]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _glob(name: str, folders: tuple[Path, ...]) -> list[Path]:
    """The files that a glob matches in the first folder where it matches any."""
    suffix = Path(name).suffix
    names_a_suffix = suffix != "" and not glob.has_magic(suffix)
    for folder in folders:
        matches = [Path(match) for match in glob.glob(str(folder / name), recursive=True)]
        kept = [m for m in matches if m.is_file() and (names_a_suffix or m.suffix == ".tar")]
        if kept:
            return sorted(kept, key=lambda path: natural_key(str(path)))
    return []


def _shards_in(folder: Path) -> list[Path]:
    """The tars directly in a folder; ShardError tells what is there instead."""
    # Names that start with a dot are what macOS and unfinished downloads leave behind.
    tars = [p for p in folder.glob("*.tar") if p.is_file() and not p.name.startswith(".")]
    if not tars:
        raise ShardError(f"{str(folder)!r} finds no shard: {why_nothing(str(folder / '*.tar'))}")
    return sorted(tars, key=lambda path: natural_key(path.name))


def _expand_list(path: Path) -> tuple[list[Path], list[str]]:
    """What the patterns in a text file find."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"the list of shards {path} cannot be read: {error}") from error
    patterns = [line.strip() for line in lines]
    patterns = [line for line in patterns if line and not line.startswith("#")]
    if not patterns:
        raise ShardError(f"the list of shards {path} names none: write one pattern a line")
    found: list[Path] = []
    missing: list[str] = []
    for pattern in patterns:
        if pattern.startswith("@"):
            raise ShardError(f"{path} names the list {pattern!r}: a list may not hold lists")
        more, absent = _expand_pattern(pattern, (Path(), path.parent))
        found += more
        missing += absent
    if not found:
        raise ShardError(f"none of the shards in {path} exists: {why_nothing(missing[0])}")
    return found, missing


def _expand_braces(pattern: str) -> list[str]:
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
class Shard:
    """A file of samples, known by what does not change when it is moved or copied."""

    path: Path
    name: str
    size: int
    edges_sha256: str
    """Digest of the first and the last 64 KiB, or of all bytes where there are no more."""

    @classmethod
    def of(cls, path: Path) -> "Shard":
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

    @property
    def identity(self) -> str:
        """Digest, in hex, of the name, the size and the edges."""
        return digest_json(
            {"name": self.name, "size": self.size, "edges_sha256": self.edges_sha256}
        )

    @property
    def part_name(self) -> str:
        """The name of the part that this shard becomes: safe in any file system."""
        return part_name(Path(self.name).stem, self.identity)


def part_name(stem: str, identity: str) -> str:
    """`stem` in letters that every file system takes, and enough of `identity` to tell it apart."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", stem)[:100].strip(".") or "shard"
    return f"{safe}-{identity[:8]}"
