"""What the small files of the store hold: recipes, records of parts, manifests, their digests."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Protocol, Self

from .digest import digest_json
from .kind_facts import KIND_FACTS, require_manifest, require_part
from .parsing import Fields
from .slots import is_slot, split_slot

STORE_FILE = "store.json"
"""The file in the root of a store that records its format."""
MANIFEST = "manifest.json"
PARTS = "parts"
PART_SUFFIX = ".part.json"
"""Suffix of the small file that makes a part visible."""


class StoreFile(Protocol):
    """A file of the store, on a disk or in a bucket."""

    @property
    def name(self) -> str:
        """The last component of its path."""
        ...


VERSION_DIGITS = 16
"""Hex digits of a version's name: 64 bits, enough for the versions of any store."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the numbers of an artifact; known before the work starts."""

    kind: str
    format: int
    stage: str
    revision: int
    config: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, str]]
    """For each part, the digests of what it is made from, by name."""

    @property
    def version(self) -> str:
        """The name of the artifact that this recipe makes."""
        return digest_json(self._recipe_of(dict(self.parts)))[:VERSION_DIGITS]

    def of_part(self, name: str) -> str:
        """Digest of a part's recipe: equal in every version that makes the part in the same way."""
        return digest_json(self._recipe_of(dict(self.parts[name])))

    def _recipe_of(self, sources: dict[str, Any]) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "format": self.format,
            "stage": self.stage,
            "revision": self.revision,
            "config": dict(self.config),
            "sources": sources,
        }


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file of a part, as it was written."""

    name: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """The record that a small file of the store gives."""
        return cls(
            name=fields.plain_name("name"),
            sha256=fields.digest("sha256"),
            bytes=fields.count("bytes"),
        )


@dataclass(frozen=True, kw_only=True)
class PartRecord:
    """A finished part; it exists once its small file does."""

    name: str
    rows: int
    recipe: str
    files: Mapping[str, FileRecord]
    """The part's files, by role."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts that the stage reported about this part alone; not hashed."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """Facts that must be equal in all parts of an artifact; become the manifest's facts."""

    @cached_property
    def content(self) -> str:
        """Digest of the bytes of its files."""
        return digest_json({role: record.sha256 for role, record in self.files.items()})

    def require(self, kind: str, file: object) -> None:
        """StoreError, naming `file`, if it lacks facts that parts of a kind must have."""
        require_part(self.facts, file, part=self.name, kind=kind, rows=self.rows)

    def to_json(self) -> dict[str, Any]:
        """The JSON object in the part's small file."""
        return {**asdict(self), "content": self.content}

    @classmethod
    def from_json(cls, value: object, path: StoreFile) -> Self:
        """The record that `to_json` wrote to the file `path`; StoreError if it is damaged."""
        fields = Fields(value, path)
        record = cls.of(fields)
        name = path.name.removesuffix(PART_SUFFIX)
        fields.require(record.name == name, "name", f"{name!r}, as the file's")
        return record

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """The record that a small file of the store gives."""
        record = cls(
            name=fields.plain_name("name"),
            rows=fields.count("rows"),
            recipe=fields.digest("recipe"),
            files={role: FileRecord.of(file) for role, file in fields.objects("files").items()},
            facts=fields.mapping("facts"),
            shared=fields.mapping("shared"),
        )
        is_right = fields.digest("content") == record.content
        fields.require(is_right, "content", "the digest of its files")
        return record


@dataclass(frozen=True, kw_only=True)
class Input:
    """An artifact that another was made from."""

    kind: str
    version: str
    content: str

    @classmethod
    def of(cls, fields: Fields, slot: str, user: str) -> Self:
        """The input that a manifest of the kind `user` records for a slot."""
        source = cls(
            kind=fields.plain_name("kind"),
            version=fields.version("version"),
            content=fields.digest("content"),
        )
        allowed = KIND_FACTS[user].made_from
        is_right = source.kind in allowed and is_slot(slot) and split_slot(slot)[0] == source.kind
        fields.require(is_right, "kind", f"that of its slot, and of {', '.join(allowed) or 'none'}")
        return source


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A published artifact; it exists once this is written, and never changes."""

    kind: str
    format: int
    version: str
    stage: str
    revision: int
    config: Mapping[str, Any]
    inputs: Mapping[str, Input]
    parts: tuple[PartRecord, ...]
    facts: Mapping[str, Any]
    made_by: Mapping[str, Any]
    """Package versions, device, seconds and date; never hashed."""

    @cached_property
    def rows(self) -> int:
        """Rows over all parts."""
        return sum(part.rows for part in self.parts)

    @cached_property
    def bytes(self) -> int:
        """Bytes of all files, links counted in full."""
        return sum(file.bytes for part in self.parts for file in part.files.values())

    @property
    def date(self) -> str:
        """When it was made, in ISO 8601; empty if that is not recorded."""
        return self.made_by.get("date", "")

    @cached_property
    def content(self) -> str:
        """Digest of the bytes of all parts."""
        return digest_json({part.name: part.content for part in self.parts})

    def to_json(self) -> dict[str, Any]:
        """The JSON object in `manifest.json`."""
        return {
            **asdict(self),
            "parts": [part.to_json() for part in self.parts],
            "rows": self.rows,
            "content": self.content,
        }

    @classmethod
    def from_json(cls, value: object, path: StoreFile) -> Self:
        """The manifest that `to_json` wrote to the file `path`; StoreError if it is damaged."""
        fields = Fields(value, path)
        kind = fields.plain_name("kind")
        fields.require(kind in KIND_FACTS, "kind", f"one of {', '.join(KIND_FACTS)}")
        manifest = cls(
            kind=kind,
            format=fields.count("format"),
            version=fields.version("version"),
            stage=fields.text("stage"),
            revision=fields.count("revision"),
            config=fields.mapping("config"),
            inputs={
                slot: Input.of(used, slot, kind) for slot, used in fields.objects("inputs").items()
            },
            parts=tuple(PartRecord.of(part) for part in fields.elements("parts")),
            facts=fields.mapping("facts"),
            made_by=fields.mapping("made_by"),
        )
        is_right = fields.digest("content") == manifest.content
        fields.require(is_right, "content", "the digest of its parts")
        require_manifest(fields, kind=kind, rows=manifest.rows)
        for part in manifest.parts:
            part.require(kind, path)
        return manifest
