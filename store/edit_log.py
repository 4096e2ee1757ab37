"""The log of what people decided about a run: small files with rising numbers, never changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from .backend import backend_of
from .errors import ConflictError, StoreError
from .parsing import Fields
from .paths import StorePath

LOG_FORMAT = 1
_DIGITS = 8
_FOLDER = "edits"


class EditLog:
    """The entries of one run, numbered from 1. Entries are added at the end and stay."""

    def __init__(self, runs: StorePath, run: str) -> None:
        self._folder = runs / run / _FOLDER
        self._run = run
        self._backend = backend_of(self._folder)
        self._read: list[dict[str, Any]] = []

    def read(self) -> Sequence[Mapping[str, Any]]:
        """All entries in order; another call opens only files that are new since the last one.

        StoreError if a number is missing or a file is damaged.
        """
        names = sorted(name for name in self._backend.names(self._folder) if _is_entry(name))
        if len(names) < len(self._read):
            numbers = range(1, len(self._read) + 1)
            raise self._missing(next(n for n in numbers if _name(n) not in names))
        new = names[len(self._read) :]
        for number, name in enumerate(new, start=len(self._read) + 1):
            if name != _name(number):
                raise self._missing(number)
        paths = [self._folder / name for name in new]
        for path, value in zip(
            paths, self._backend.each(self._backend.read_json, paths), strict=True
        ):
            self._read.append(_parse(value, path))
        return list(self._read)

    def append(self, entry: Mapping[str, Any], *, seen: int) -> int:
        """Adds an entry after `seen` others; returns its number once it is on the disk.

        ConflictError if somebody else has added one since, StoreError if the last one seen is
        gone.
        """
        if seen and not self._backend.is_file(self._folder / _name(seen)):
            raise self._missing(seen)
        path = self._folder / _name(seen + 1)
        value = {"format": LOG_FORMAT, "number": seen + 1, **entry}
        self._backend.write_once(path, lambda: value)
        written = self._backend.read_json(path)
        if written != value:
            by = _parse(written, path).get("by", "somebody")
            raise ConflictError(
                f"run {self._run!r} has more than {seen} decisions now, because {by} made another "
                "one: look at it with `cpp-pipe edit log`, and run the same command again"
            )
        return seen + 1

    def _missing(self, number: int) -> StoreError:
        return StoreError(
            f"{self._folder / _name(number)} is missing: restore it; decisions after "
            "it depend on it"
        )


def _name(number: int) -> str:
    return f"{number:0{_DIGITS}d}.json"


def _is_entry(name: str) -> bool:
    return name.endswith(".json") and name.removesuffix(".json").isdecimal()


def _parse(value: object, path: StorePath) -> dict[str, Any]:
    fields = Fields(value, path)
    fields.require(fields.count("format") == LOG_FORMAT, "format", str(LOG_FORMAT))
    number = fields.count("number")
    fields.require(_name(number) == path.name, "number", "that of the file's name")
    assert isinstance(value, Mapping)
    return {name: entry for name, entry in value.items() if name != "format"}
