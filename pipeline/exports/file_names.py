"""Names of files and classes that every file system allows, and that are unique in a folder."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from ...stages.sources.image_formats import is_image_suffix
from ...stages.sources.tar.writer import distinct
from ...store.names import is_windows_name

_LONGEST, _LONGEST_KEY = 60, 120
"""The most characters of a name that is made from words, or from a key."""
_MOST_BYTES = 200
"""The most UTF-8 bytes of a name; file systems allow 255, and a number and a suffix follow."""


def to_file_name(words: str, longest: int = _LONGEST) -> str:
    """Words as a file name, or the start of one, that every file system allows."""
    name = re.sub(r"[^\w .,()+-]", "_", words).strip(" .")[:longest]
    name = name.encode()[:_MOST_BYTES].decode(errors="ignore").strip(" .")
    return name if is_windows_name(name) else f"_{name}"


def fold_case(name: str) -> str:
    """A name as it is compared by file systems that ignore case and the encoding of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def make_unique(
    names: Mapping[int, str], fold: Callable[[str], str] = lambda name: name
) -> dict[int, str]:
    """Unique names of clusters; adds the cluster's number to names that are equal after `fold`."""
    unique = dict(names)
    while True:
        counts = Counter(fold(name) for name in unique.values())
        if len(counts) == len(unique):
            return unique
        unique = {
            number: f"{name} {number}" if counts[fold(name)] > 1 else name
            for number, name in unique.items()
        }


def without_suffix(key: str) -> str:
    """A key without the suffix of an image; keys of images in folders have one."""
    stem, suffix = os.path.splitext(key)
    return stem if suffix and is_image_suffix(suffix) else key


class FileNames:
    """Names images by their keys; adds a number to a name that is taken in its folder."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, dict[str, int]] = defaultdict(dict)
        """The last number of each name of a folder."""

    def name(self, key: str, suffix: str, folder: str = "") -> str:
        """The next name of an image in a folder."""
        original = to_file_name(without_suffix(key).replace("/", "_"), _LONGEST_KEY) or "image"
        return f"{distinct(original, self._taken[folder], fold_case)}.{suffix}"
