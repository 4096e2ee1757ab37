"""Reads the small JSON files of a store as input that anybody may have written.

A store is copied, shared and put into buckets. Names that its files give become paths, so each must
be one plain component of a path, and every digest and version must be hex digits. No value is used
before it has passed these checks.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import StoreError
from .names import is_plain_name

_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9a-f]{16}")
_SHOWN = 60
"""Characters of a wrong value that a message shows."""


def is_version(value: object) -> bool:
    """Whether a value is the name of a version: 16 hex digits."""
    return isinstance(value, str) and _VERSION.fullmatch(value) is not None


_REMEDIES = {
    "store.json": "restore it, or remove this file alone: the next command writes it again",
    "run.json": "restore it, or begin another run with --run; artifacts of the store are kept",
}


def remedy_for(file: object) -> str:
    """What to do about a damaged small file."""
    folder, _, name = str(file).rpartition("/")
    if folder.endswith("/edits") and "/runs/" in folder:
        return "restore it: decisions after it depend on it"
    other = "restore it, or remove the folder of its version and run the same command again"
    return _REMEDIES.get(name, other)


class Fields:
    """The fields of one JSON object; each is checked when it is read.

    All methods raise StoreError, which names the file and the field, if the field is missing or
    not of its type.
    """

    def __init__(self, value: object, file: object, at: str = "") -> None:
        self._file, self._at = file, at
        if not isinstance(value, Mapping):
            raise self._damaged(at or "the whole", "an object", value)
        self._value: Mapping[str, Any] = value

    def text(self, name: str) -> str:
        """The text of a field."""
        value = self._required(name, "a text")
        return value if isinstance(value, str) else self._refuse(name, "a text")

    def plain_name(self, name: str) -> str:
        """A name that may become that of a file or a folder."""
        allowed = "a name without a path"
        value = self._required(name, allowed)
        return value if is_plain_name(value) else self._refuse(name, allowed)

    def digest(self, name: str) -> str:
        """A SHA-256 in hex."""
        return self._matching(name, _DIGEST, "64 hex digits")

    def version(self, name: str) -> str:
        """The version of an artifact."""
        return self._matching(name, _VERSION, "16 hex digits")

    def count(self, name: str) -> int:
        """A whole number from 0."""
        value = self._required(name, "a whole number")
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return value if is_count else self._refuse(name, "a whole number from 0")

    def mapping(self, name: str) -> dict[str, Any]:
        """An object whose values may be anything."""
        value = self._required(name, "an object")
        return dict(value) if isinstance(value, Mapping) else self._refuse(name, "an object")

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts."""
        values = self.mapping(name)
        for key, value in values.items():
            if not isinstance(value, str):
                raise self._damaged(f"{self._path(name)}.{key}", "a text", value)
        return values

    def find(self, name: str) -> Any:
        """A value without a check; None if it is missing."""
        return self._value.get(name)

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return name in self._value

    def nested(self, name: str) -> "Fields":
        """An object."""
        return Fields(self.mapping(name), self._file, self._path(name))

    def objects(self, name: str) -> dict[str, "Fields"]:
        """An object of objects."""
        values = self.mapping(name)
        return {
            key: Fields(value, self._file, f"{self._path(name)}.{key}")
            for key, value in values.items()
        }

    def elements(self, name: str) -> Iterator["Fields"]:
        """A list of objects."""
        values = self._required(name, "a list")
        if not isinstance(values, list):
            self._refuse(name, "a list")
        for number, value in enumerate(values):
            yield Fields(value, self._file, f"{self._path(name)}[{number}]")

    def require(self, is_right: bool, name: str, allowed: str) -> None:
        """StoreError if a field fails a check of the caller, although its type is right."""
        if not is_right:
            self._refuse(name, allowed)

    def _required(self, name: str, allowed: str) -> Any:
        if name not in self._value:
            raise self._damaged(self._path(name), allowed, None)
        return self._value[name]

    def _matching(self, name: str, pattern: re.Pattern[str], allowed: str) -> str:
        value = self._required(name, allowed)
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        return self._refuse(name, allowed)

    def _refuse(self, name: str, allowed: str) -> Any:
        raise self._damaged(self._path(name), allowed, self._value.get(name))

    def _path(self, name: str) -> str:
        return f"{self._at}.{name}" if self._at else name

    def _damaged(self, at: str, allowed: str, value: object) -> StoreError:
        shown = "nothing" if value is None else repr(value)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}…"
        return StoreError(
            f"{self._file} is damaged: {at} must be {allowed}, got {shown}; "
            f"{remedy_for(self._file)}"
        )
