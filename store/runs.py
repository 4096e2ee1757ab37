"""Runs: named sets of settings and versions, in which commands find each other's artifacts."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .backend import backend_of
from .edit_log import EditLog
from .errors import ConfigError, StoreError
from .kinds import KINDS
from .names import is_plain_name
from .parsing import Fields, is_version
from .paths import StorePath
from .slots import is_slot, split_slot

RUN_FORMAT = 1
_LONGEST = 255
"""Characters of a folder's name on any disk."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run refers to.

    A slot is a kind's name, or KIND/NAME if a run holds several of a kind: `index/features`.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings that were used, in full: a table for each stage."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The version in each slot."""
    making: Mapping[str, str] = field(default_factory=dict)
    """Unfinished versions, by slot; `gc` keeps them, so that they can be resumed."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """The path or address of each part's shard when it was embedded."""
    stamps: Mapping[str, str] = field(default_factory=dict)
    """By part, a text that changes when its shard is written to."""


class Runs:
    """The runs of a store."""

    def __init__(self, folder: StorePath) -> None:
        self._folder = folder
        self._backend = backend_of(folder)

    def path(self, name: str) -> StorePath:
        """The file of a run's record, whether it exists or not."""
        if not _is_name(name):
            raise ConfigError(
                f"--run must begin with a letter or a digit, followed by letters, digits, dots, "
                f"dashes and underscores, got {name!r}"
            )
        if not is_plain_name(name):
            raise ConfigError(f"--run {name!r} is a name that Windows reserves: choose another")
        if len(name) > _LONGEST:
            raise ConfigError(f"--run must have at most {_LONGEST} characters, got {len(name):,}")
        return self._folder / name / "run.json"

    def names(self) -> list[str]:
        """The names of all runs, sorted; other files and folders are ignored."""
        folders = self._backend.folders(self._folder)
        return [
            path.name
            for path in folders
            if _is_name(path.name) and self._backend.is_file(path / "run.json")
        ]

    def read(self, name: str) -> RunRecord:
        """A run's record; an empty one if there is no such run."""
        path = self.path(name)
        value = self._backend.find_json(path)
        if value is None:
            return RunRecord(name=name)
        return _parse(value, path)

    def edits(self, name: str) -> EditLog:
        """The log of what people decided about a run."""
        return EditLog(self._folder, self.path(name).parent.name)

    def has(self, name: str, **changes: Mapping[str, Any]) -> bool:
        """Whether there is such a run, and `update` with these changes would write nothing."""
        return self._has(self.read(name), changes)

    def _has(self, record: RunRecord, changes: Mapping[str, Mapping[str, Any]]) -> bool:
        return _merge(record, changes) == record and self._backend.is_file(self.path(record.name))

    def update(self, name: str, **changes: Mapping[str, Any]) -> RunRecord:
        """Merges entries into the run's mappings, but replaces `settings` as a whole.

        Removes entries whose value is None. Writes nothing if nothing changes.
        """
        path = self.path(name)
        record = self.read(name)
        if self._has(record, changes):
            return record
        with self._backend.lock(path.with_name("lock")):
            changed = _merge(self.read(name), changes)
            self._backend.write_json(path, {"format": RUN_FORMAT, **asdict(changed)})
        return changed


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name))


def _parse(value: object, path: StorePath) -> RunRecord:
    fields = Fields(value, path)
    if fields.count("format") != RUN_FORMAT:
        raise StoreError(f"{path} is not of format {RUN_FORMAT}: use another --run or --store")
    record = RunRecord(
        name=fields.plain_name("name"),
        settings=fields.mapping("settings"),
        versions=fields.texts("versions"),
        making=fields.texts("making"),
        sources=fields.texts("sources"),
        # Older records have none.
        stamps=fields.texts("stamps") if isinstance(value, dict) and "stamps" in value else {},
    )
    folder = path.parent.name
    if record.name != folder and record.name.lower() == folder.lower():
        raise StoreError(
            f"{path} is the record of the run {record.name!r}: write --run {record.name}, because "
            "some disks take names that differ only in upper and lower case for one"
        )
    fields.require(record.name == folder, "name", f"{folder!r}, as the folder's")
    for name in ("versions", "making"):
        for slot, version in getattr(record, name).items():
            kind = split_slot(slot)[0]
            if kind not in KINDS and is_plain_name(kind) and is_version(version):
                raise StoreError(
                    f"{path} refers to {kind!r}, a kind that this version of cpp-pipe does not "
                    "know: use the version that wrote it, or another --run"
                )
            fields.require(is_slot(slot) and is_version(version), name, "versions by slot")
    return record


def _merge(record: RunRecord, changes: Mapping[str, Mapping[str, Any]]) -> RunRecord:
    merged = {}
    for name, change in changes.items():
        entries = {**({} if name == "settings" else getattr(record, name)), **change}
        merged[name] = {key: value for key, value in entries.items() if value is not None}
    return replace(record, **merged)
