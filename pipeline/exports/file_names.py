"""Names of files and classes that every system takes, and that no two of a folder share."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from ...stages.sources.image_formats import is_image_suffix
from ...store.names import is_windows_name

_LONGEST, _LONGEST_KEY = 60, 120
"""Characters of a name that is made from words, or from a key."""
_MOST_BYTES = 200
"""UTF-8 bytes of a name; file systems take 255, and a number and a suffix follow."""


def plain(words: str, longest: int = _LONGEST) -> str:
    """Words as a part of a file's name that every system takes."""
    kept = re.sub(r"[^\w .,()+-]", "_", words).strip(" .")[:longest]
    kept = kept.encode()[:_MOST_BYTES].decode(errors="ignore").strip(" .")
    return kept if is_windows_name(kept) else f"_{kept}"


def folded(name: str) -> str:
    """A name as a system compares it that ignores case and the encoding of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def unique_names(
    names: Mapping[int, str], same: Callable[[str], str] = lambda name: name
) -> dict[int, str]:
    """Names of clusters; if two are the same, each gets the number of its cluster."""
    unique = dict(names)
    while True:
        counts = Counter(same(name) for name in unique.values())
        if len(counts) == len(unique):
            return unique
        unique = {
            number: f"{name} {number}" if counts[same(name)] > 1 else name
            for number, name in unique.items()
        }


def without_suffix(key: str) -> str:
    """A key without the suffix of an image, which keys of folders have."""
    stem, suffix = os.path.splitext(key)
    return stem if suffix and is_image_suffix(suffix) else key


class FileNames:
    """Names images by their keys; adds a number to a name that a folder has already."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, set[str]] = defaultdict(set)

    def name(self, key: str, suffix: str, folder: str = "") -> str:
        """The name of an image in a folder."""
        first = stem = plain(without_suffix(key).replace("/", "_"), _LONGEST_KEY) or "image"
        number, taken = 1, self._taken[folder]
        while folded(stem) in taken:
            number += 1
            stem = f"{first}-{number}"
        taken.add(folded(stem))
        return f"{stem}.{suffix}"
