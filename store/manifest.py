"""What the small files of the store hold: recipes, records of parts, manifests, their digests."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .digest import digest_json

MANIFEST = "manifest.json"
PARTS = "parts"
PART_SUFFIX = ".part.json"
"""Suffix of the small file that makes a part visible."""

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
    """By part, the digests of what it is made from."""

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


@dataclass(frozen=True, kw_only=True)
class PartRecord:
    """A finished part; it exists once its small file does."""

    name: str
    rows: int
    recipe: str
    files: Mapping[str, FileRecord]
    """By role."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the stage reported about this part alone; not hashed."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """What must be equal in all parts of an artifact; becomes the manifest's facts."""

    @property
    def content(self) -> str:
        """Digest of the bytes of its files."""
        return digest_json({role: record.sha256 for role, record in self.files.items()})

    def to_json(self) -> dict[str, Any]:
        """The JSON object in the part's small file."""
        return {**asdict(self), "content": self.content}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote."""
        files = {role: FileRecord(**record) for role, record in value["files"].items()}
        names = ("name", "rows", "recipe", "facts", "shared")
        return cls(files=files, **{name: value[name] for name in names})


@dataclass(frozen=True, kw_only=True)
class Input:
    """An artifact that another was made from."""

    kind: str
    version: str
    content: str


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

    @property
    def rows(self) -> int:
        """Rows over all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all files, links counted in full."""
        return sum(file.bytes for part in self.parts for file in part.files.values())

    @property
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
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The manifest that `to_json` wrote."""
        names = ("kind", "format", "version", "stage", "revision", "config", "facts", "made_by")
        return cls(
            inputs={name: Input(**used) for name, used in value["inputs"].items()},
            parts=tuple(PartRecord.from_json(part) for part in value["parts"]),
            **{name: value[name] for name in names},
        )
