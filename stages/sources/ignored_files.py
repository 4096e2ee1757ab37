"""Describes files that are neither images nor belong to one, by suffix."""

import re
from collections.abc import Mapping
from typing import Final

from .image_formats import EXTRAS, is_image_suffix

_ONE = {"files": "file", "members of tar shards": "member of a tar shard"}

SEEN: Final = "suffixes seen: "
"""The beginning of a stored detail, which lists the suffixes of a sample without an image."""
_HEIF = re.compile(r"starts with b['\"].{4,16}ftyp(hei|hev|mif1|msf1)")
"""The stored detail of a HEIC, whatever its file's name."""

_SHOWN: Final = 8
"""Suffixes that are named one by one."""


def describe_left_out(counts: Mapping[str, int], what: str = "files") -> str:
    """How many files of each suffix were left out, and the extra that would read some.

    A suffix is in lower case and without its dot; "" counts files without one.
    """
    total = sum(counts.values())
    verb = "was" if total == 1 else "were"
    noun = _ONE.get(what, what) if total == 1 else what
    return f"{total:,} {noun} {verb} left out: {list_suffixes(counts)}{hint_at_extra(counts)}"


def needed_extras(reason: str, detail: str) -> frozenset[str]:
    """The extras whose lack made a sample be skipped, by its reason and detail in the store."""
    if reason == "no_image" and detail.startswith(SEEN):
        suffixes = detail.removeprefix(SEEN).split(", ")
        return frozenset(EXTRAS[suffix] for suffix in suffixes if suffix in EXTRAS)
    is_heif = reason == "unsupported" and _HEIF.match(detail) is not None
    return frozenset({"heif"} if is_heif else ())


def list_suffixes(counts: Mapping[str, int]) -> str:
    """The commonest suffixes with their counts."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = [
        f"{count:,} {'.' + suffix if suffix else 'without a suffix'}"
        for suffix, count in ranked[:_SHOWN]
    ]
    rest = sum(count for _, count in ranked[_SHOWN:])
    return ", ".join(listed) + (f" and {rest:,} others" if rest else "")


def hint_at_extra(suffixes: Mapping[str, int]) -> str:
    """What to install to read images with some of these suffixes; empty if nothing helps."""
    by_extra: dict[str, list[str]] = {}
    for suffix in sorted(suffixes):
        if suffix in EXTRAS and not is_image_suffix(suffix):
            by_extra.setdefault(EXTRAS[suffix], []).append(f".{suffix}")
    hints = [
        f"pip install 'cpp-pipe[{extra}]' to read {', '.join(names)}"
        for extra, names in by_extra.items()
    ]
    return "".join(f"; {hint}" for hint in hints)
