"""Shortens paths in texts, because visitors of the page need not know where files lie."""

import re
from collections.abc import Iterable
from typing import Any

_FILE_ADDRESS = re.compile(r"\bfile:(?://)?(?=/)")
_KNOWN = r"(?<![\w.~-])(?:{})[/\\]+"
_POSIX = re.compile(r"""(?<![\w/.~<-])/(?!/)(?:[^\s/'"`,;:()<>|]+/+)*(?=[^\s/'"`,;:()<>|])""")
_WINDOWS = re.compile(r"""(?<!\w)(?:[A-Za-z]:[\\/]|\\\\)(?:[^\s\\/'"`,;:()<>|]+[\\/]+)*""")


class PathShortener:
    """Shortens paths in texts.

    A path in a known folder becomes relative to it, even if the folder's name has unusual
    characters. Of any other absolute path only the last component stays.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        known = sorted((folder for folder in folders if folder.strip("/\\")), key=len, reverse=True)
        self._known = re.compile(_KNOWN.format("|".join(map(re.escape, known)))) if known else None

    def shorten(self, text: str) -> str:
        """A text in which every absolute path is relative."""
        text = _FILE_ADDRESS.sub("", text)
        if self._known is not None:
            text = self._known.sub("", text)
        return _POSIX.sub("", _WINDOWS.sub("", text))

    def shorten_all(self, value: Any) -> Any:
        """A JSON value with all its texts shortened, but not the names of its fields."""
        if isinstance(value, str):
            return self.shorten(value)
        if isinstance(value, list | tuple):
            return [self.shorten_all(item) for item in value]
        if isinstance(value, dict):
            return {name: self.shorten_all(item) for name, item in value.items()}
        return value


def split_path(path: str) -> tuple[str, str]:
    """The folder and the name in a path or an address."""
    match = re.search(r"[/\\]([^/\\]*)$", path.rstrip("/\\"))
    return ("", path) if match is None else (path[: match.start()], match[1])
