"""Hints for a pattern that finds fewer files than its author meant."""

import difflib
import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from .input_kinds import find_kind, flag_for, is_visible

MAX_SHOWN = 3
_NUMBERED = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)


def why_nothing(pattern: str, suffix: str = ".tar") -> str:
    """What lies where `pattern` points, and what to do; one clause, without a full stop."""
    folder = Path(pattern).parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    if not folder.exists():
        existing = next(parent for parent in folder.absolute().parents if parent.exists())
        return f"there is no folder {folder} (the path exists as far as {existing})"
    if not folder.is_dir():
        return f"{folder} is a file, not a folder"
    clause = f"the folder {folder} has {_describe_folder(folder, suffix)}"
    if not glob.has_magic(pattern) and re.search(r"[{<].*[}>]", pattern):
        clause += "; write a range as {000..999}"
    return clause


def _describe_folder(folder: Path, target: str) -> str:
    """The files in a folder by suffix, with a hint if none has the suffix `target`."""
    files = (entry.name for entry in folder.iterdir() if entry.is_file())
    names = sorted(name for name in files if is_visible(name))
    counts = Counter(Path(name).suffix.lower() for name in names)
    if not counts:
        below = sum(1 for _ in folder.glob(f"*/*{target}"))
        if below:
            return f"no files, but {below} {target} in its subfolders: write '{folder}/*/*{target}'"
        kind = find_kind(folder)
        if kind is not None:
            return f"no files, but {kind} below it: use {flag_for(kind, folder)}"
        return "no files"
    listed = []
    for suffix, count in counts.most_common(MAX_SHOWN):
        example = next(name for name in names if Path(name).suffix.lower() == suffix)
        kind = f"{suffix} " if suffix else ""
        listed.append(f"{count} {kind}file{'s' if count > 1 else ''} (e.g. {example})")
    text = ", ".join(listed)
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(MAX_SHOWN))
    if rest:
        text += f" and {rest} others"
    if counts[target]:
        return text
    text += f" and no {target}"
    kind = find_kind(folder)
    if kind == "images" and target == ".tar":
        return (
            f"{text}: use {flag_for(kind, folder)}, or pack the images into tar shards with "
            "cpp-pipe pack"
        )
    return text if kind is None else f"{text}: for {kind} use {flag_for(kind, folder)}"


def similar_names(path: Path) -> list[str]:
    """Files beside a missing one whose names are similar to its name."""
    if not path.parent.is_dir():
        return []
    names = [entry.name for entry in path.parent.iterdir() if is_visible(entry.name)]
    near = difflib.get_close_matches(path.name, sorted(names), n=MAX_SHOWN, cutoff=0.7)
    return [str(path.with_name(name)) for name in near]


def compress_names(names: Sequence[str]) -> str:
    """Names with consecutive numbers written as ranges, cut short after the first few."""
    parents = {str(Path(name).parent) for name in names}
    if len(parents) == 1:
        names = [Path(name).name for name in names]
    ranges = list(_ranges(names))
    text = ", ".join(name for name, _ in ranges[:MAX_SHOWN])
    hidden = sum(count for _, count in ranges[MAX_SHOWN:])
    return f"{text}, … (and {hidden} more)" if hidden else text


def _ranges(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Ranges of names whose last numbers are consecutive, each with its count."""
    start = 0
    for end in range(1, len(names) + 1):
        if end < len(names) and _follows(names[end - 1], names[end]):
            continue
        first, last = names[start], names[end - 1]
        if end - start == 1:
            yield first, 1
        else:
            prefix, low, suffix = _split(first)
            yield f"{prefix}{{{low}..{_split(last)[1]}}}{suffix}", end - start
        start = end


def _follows(before: str, after: str) -> bool:
    left, right = _split(before), _split(after)
    if left[0] != right[0] or left[2] != right[2] or not left[1] or not right[1]:
        return False
    padded = left[1].startswith("0") or right[1].startswith("0")
    return int(right[1]) == int(left[1]) + 1 and (not padded or len(left[1]) == len(right[1]))


def _split(name: str) -> tuple[str, str, str]:
    match = _NUMBERED.match(name)
    return (match[1], match[2], match[3]) if match else (name, "", "")
