"""A run: a named set of settings and versions, by which commands find each other."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import ConfigError, StoreError
from .files import lock, read_json, write_json

RUN_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run refers to. A slot is a kind's name, or `index/SPACE` for one of several."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What was used, in full: a table a stage."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The version in each slot."""
    making: Mapping[str, str] = field(default_factory=dict)
    """Versions that were begun: kept from `gc`, so that they can be resumed."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where the shards lay when they were embedded: part name to path."""


class Runs:
    """The runs of a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ConfigError(
                f"--run {name!r} is no name for a run: letters, digits, dots, dashes and "
                "underscores are allowed, the first a letter or a digit"
            )
        return self._folder / name / "run.json"

    def names(self) -> list[str]:
        """The runs that there are, sorted."""
        return sorted(path.parent.name for path in self._folder.glob("*/run.json"))

    def read(self, name: str) -> RunRecord:
        """A run as it stands; a new one is empty."""
        path = self._path(name)
        if not path.is_file():
            return RunRecord(name=name)
        value = read_json(path)
        if value.pop("format", None) != RUN_FORMAT:
            raise StoreError(f"{path} is not of format {RUN_FORMAT}: use another --run or --store")
        return RunRecord(**value)

    def update(self, name: str, **changes: Mapping[str, Any]) -> RunRecord:
        """Merges entries into the run's mappings; `settings` is replaced as a whole.

        An entry whose value is None is removed. Where nothing changes, nothing is written.
        """
        record = self.read(name)
        if _merge(record, changes) == record and self._path(name).is_file():
            return record
        with lock(self._path(name).with_name("lock")):
            changed = _merge(self.read(name), changes)
            write_json(self._path(name), {"format": RUN_FORMAT, **asdict(changed)})
        return changed


def _merge(record: RunRecord, changes: Mapping[str, Mapping[str, Any]]) -> RunRecord:
    merged = {}
    for name, change in changes.items():
        entries = {**({} if name == "settings" else getattr(record, name)), **change}
        merged[name] = {key: one for key, one in entries.items() if one is not None}
    return replace(record, **merged)
