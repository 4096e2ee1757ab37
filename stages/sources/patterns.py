"""Lists of shards, or other files, in the notations that people write."""

import glob
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...store.errors import ShardError
from ...store.paths import expanded
from ..contract import Place
from .input_kinds import is_visible
from .pattern_hints import compress_names, similar_names, why_nothing
from .user_files import read_lines

MAX_NAMES = 1_000_000
"""More names than this in one pattern are a typing error, and would fill the memory."""

_ANGLE_RANGE = re.compile(r"<(\w+\.\.\w+(?:\.\.\d+)?)>")
_RANGE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.(-?\d+))?")
_DEPTH = 50
"""Most levels of nested braces; more take braceexpand minutes."""
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|pipe:")


Expander = Callable[[str], "tuple[list[Place], list[str]]"]
"""Maps a pattern of addresses to the places it finds and the names that are missing."""


@dataclass(frozen=True, kw_only=True)
class PatternTarget:
    """The kind of file that patterns name."""

    noun: str = "shard"
    suffix: str = ".tar"
    """Suffix of the files that a folder, or a glob without its own suffix, stands for."""
    expand_remote: Expander | None = None
    """None if only local files are allowed."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The files that a list of patterns names."""

    found: tuple[Place, ...]
    """Each file once, in the order of the patterns; a glob or a folder gives natural order."""
    missing: tuple[str, ...]
    """Names spelt out, by braces or in full, that do not exist."""
    duplicates: tuple[Place, ...]
    """Files that were named again, by the same or another path; they are read once."""
    noun: str = "shard"
    left_out: Counter[str] = field(default_factory=Counter)
    """Other files in folders that were named, by suffix."""

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
            duplicates = compress_names(tuple(str(path) for path in self.duplicates))
            text += f"\nnamed more than once and read once: {duplicates}"
        return text


def expand(patterns: Sequence[str], target: PatternTarget | None = None) -> Matches:
    """The shards, or whatever `target` describes, that `patterns` name; opens none of them.

    A pattern is one of:

    - a range or a list in braces: 'laion/{000..999}.tar', '{a,b}.tar'
    - a range in angle brackets: '<000..999>.tar'
    - a glob with `*`, `?`, `[...]` or `**`; without a suffix of its own (`laion/*`) it stands for
      the `.tar` files among its matches
    - a folder: its own `*.tar` files
    - `@list.txt`: a pattern per line; blank lines and `#` comments are skipped; what is not found
      from the working directory is looked for beside the list
    - one file
    - any of these at an address ('s3://bucket/{000..999}.tar'), if the target allows addresses

    ShardError if a pattern finds nothing. A single absent file counts as `missing` instead,
    because a shell may have expanded the braces, unless nothing was found at all.
    """
    target = target or PatternTarget()
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise ShardError("no shards are named: give a pattern such as 'laion/{000..999}.tar'")
    places: list[Place] = []
    missing: list[str] = []
    for pattern in patterns:
        present, absent = _expand_pattern(pattern, target)
        places += present
        missing += absent
    if not places:
        hint = _why_missing(missing[0], target)
        if len(patterns) > 1:
            hint += "; if the shell expanded a pattern, quote it: 'laion/{000..999}.tar'"
        if len(missing) == 1:
            raise ShardError(f"the {target.noun} {missing[0]} does not exist: {hint}")
        raise ShardError(f"none of the {len(missing)} {target.noun}s named exists: {hint}")
    first_by_file: dict[str, Place] = {}
    duplicates: list[Place] = []
    for place in places:
        if first_by_file.setdefault(str(place.resolve()), place) is not place:
            duplicates.append(place)
    return Matches(
        found=tuple(first_by_file.values()),
        missing=tuple(dict.fromkeys(missing)),
        duplicates=tuple(dict.fromkeys(duplicates)),
        noun=target.noun,
        left_out=_left_out(patterns, target),
    )


def natural_key(name: str) -> tuple[list[str | int], str]:
    """A sort key for the order that people expect: shard-9 before shard-10."""
    pieces = re.split(r"(\d+)", name)
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _expand_pattern(
    pattern: str, target: PatternTarget, folders: tuple[Path, ...] = (Path(),)
) -> tuple[list[Place], list[str]]:
    """The places that one pattern finds in `folders`, and the names in it that are missing."""
    if not pattern.strip():
        raise ShardError(f"a {target.noun} pattern is empty: give one such as '{{000..999}}.tar'")
    if is_remote(pattern):
        if target.expand_remote is None or pattern.startswith("pipe:"):
            raise ShardError(
                f"{pattern!r} is not on this machine, and only local {target.noun}s can be read: "
                "download it first"
            )
        return target.expand_remote(pattern)
    if pattern.startswith("@"):
        return _expand_list(expanded(pattern[1:]), target)
    pattern = str(expanded(pattern))
    names = expand_braces(pattern) if _find(pattern, folders) is None else [pattern]
    places: list[Place] = []
    missing: list[str] = []
    for name in names:
        path = _find(name, folders)
        if path is not None:
            places += _files_in(path, target) if path.is_dir() else [path]
        elif glob.has_magic(name):
            places += _glob(name, target, folders)
        else:
            missing.append(name)
    if not places and (len(names) > 1 or glob.has_magic(pattern)):
        hint = why_nothing(names[0], target.suffix)
        raise ShardError(f"{pattern!r} finds no {target.noun}: {hint}")
    return places, missing


def is_remote(pattern: str) -> bool:
    """Whether a pattern or a place is an address, not a path."""
    return _REMOTE.match(pattern) is not None


def _why_missing(name: str, target: PatternTarget) -> str:
    if is_remote(name):
        return "check the address and your right to read"
    near = similar_names(Path(name))
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return hint + why_nothing(name, target.suffix)


def _find(name: str, folders: tuple[Path, ...]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _glob(name: str, target: PatternTarget, folders: tuple[Path, ...]) -> list[Path]:
    """The files that a glob matches in the first folder where it matches any."""
    suffix = Path(name).suffix
    has_own_suffix = suffix != "" and not glob.has_magic(suffix)
    for folder in folders:
        matches = [Path(match) for match in glob.glob(str(folder / name), recursive=True)]
        kept = [m for m in matches if m.is_file() and (has_own_suffix or _is_target(m, target))]
        if kept:
            return sorted(kept, key=lambda path: natural_key(str(path)))
    return []


def _files_in(folder: Path, target: PatternTarget) -> list[Path]:
    """The target's files directly in a folder; without any, ShardError says what it holds."""
    # macOS and unfinished downloads leave files whose names start with a dot.
    visible = [path for path in folder.iterdir() if is_visible(path.name)]
    files = [path for path in visible if _is_target(path, target) and path.is_file()]
    if not files:
        hint = why_nothing(str(folder / f"*{target.suffix}"), target.suffix)
        raise ShardError(f"{str(folder)!r} finds no {target.noun}: {hint}")
    return sorted(files, key=lambda path: natural_key(path.name))


def _is_target(path: Path, target: PatternTarget) -> bool:
    return path.suffix.lower() == target.suffix


def _left_out(patterns: Sequence[str], target: PatternTarget) -> Counter[str]:
    """How many files of each suffix folders hold beside the target's, and beside their tables and
    counts, which have their names."""
    counts: Counter[str] = Counter()
    for folder in dict.fromkeys(expanded(pattern) for pattern in patterns):
        if is_remote(str(folder)) or not folder.is_dir():
            continue
        files = [path for path in folder.iterdir() if is_visible(path.name) and path.is_file()]
        stems = {path.stem for path in files if _is_target(path, target)}
        counts.update(
            path.suffix.lower()[1:]
            for path in files
            if not _is_target(path, target) and path.stem.removesuffix("_stats") not in stems
        )
    return counts


def _expand_list(path: Path, target: PatternTarget) -> tuple[list[Place], list[str]]:
    """The places that the patterns in a text file find, and the names that are missing."""
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"the list of {target.noun}s {path} cannot be read: {error}") from error
    patterns = [line.strip() for line in lines]
    patterns = [line for line in patterns if line and not line.startswith("#")]
    if not patterns:
        raise ShardError(f"the list of {target.noun}s {path} is empty: write one pattern per line")
    places: list[Place] = []
    missing: list[str] = []
    for pattern in patterns:
        if pattern.startswith("@"):
            raise ShardError(
                f"{path} names the list {pattern!r}: a list must not hold another list"
            )
        present, absent = _expand_pattern(pattern, target, (Path(), path.parent))
        places += present
        missing += absent
    if not places:
        hint = _why_missing(missing[0], target)
        raise ShardError(f"none of the {target.noun}s in {path} exists: {hint}")
    return places, missing


def count_names(braced: str) -> int:
    """How many names a pattern stands for, without writing them: `{a,b}` forty times is 2 ** 40.

    The numbers of alternatives are added, those of consecutive pieces multiplied.
    """
    finished, counts, starts = [0], [1], [0]
    for at, character in enumerate(braced):
        if character == "{":
            finished.append(0)
            counts.append(1)
            starts.append(at + 1)
            if len(starts) > _DEPTH:
                raise ValueError("too deep")
        elif character == "," and len(counts) > 1:
            finished[-1] += counts[-1]
            counts[-1] = 1
        elif character == "}" and len(counts) > 1:
            count, start = finished.pop() + counts.pop(), starts.pop()
            is_short = at - start < 64  # a longer one is no range, and copying it takes time
            counts[-1] *= (is_short and _count_range(braced[start:at])) or count
    return counts[0]


def _count_range(inside: str) -> int:
    """How many names `0..9`, `0..9..3` or `a..f` stands for; 0 for anything else."""
    matched = _RANGE.fullmatch(inside)
    if matched is None:
        return 0
    ends = matched.group(1, 2)
    first, last = (ord(end) if end.isalpha() else int(end) for end in ends)
    return abs(last - first) // max(abs(int(matched[3] or 1)), 1) + 1


def expand_braces(pattern: str) -> list[str]:
    """The names that braces and angle brackets stand for; leading zeros are kept."""
    from braceexpand import braceexpand

    braced = _ANGLE_RANGE.sub(r"{\1}", pattern)
    try:
        if count_names(braced) <= MAX_NAMES:
            return list(braceexpand(braced, escape=False))
    except (ValueError, RecursionError) as error:
        raise ShardError(
            f"the braces in {pattern!r} do not match: write a range as {{000..999}}"
        ) from error
    raise ShardError(f"{pattern!r} names more than {MAX_NAMES} shards: check its ranges")
