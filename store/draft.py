"""Writing an artifact part by part, and publishing it whole."""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .artifact import MANIFEST, PART_SUFFIX, PARTS, Artifact
from .check import check_file
from .digest import digest_file
from .errors import StoreError
from .files import TEMPORARY_PREFIX, link_or_copy, lock, read_json, store_errors, sync, write_json
from .kinds import Kind
from .manifest import FileRecord, Input, Manifest, PartRecord, Recipe


@dataclass(frozen=True, kw_only=True)
class Product:
    """What a stage tells of the part that it has just written."""

    rows: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of this part alone: counts, whether its shard was whole."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """Must be equal in all parts; becomes the manifest's facts."""


class Scratch:
    """A folder that belongs to one part while it is being made; its files become the part's."""

    def __init__(self, folder: Path, part: str, kind: Kind, checkpoints: Path) -> None:
        self.folder = folder
        self.checkpoints = checkpoints
        """A folder for what lets half a part resume; gone once the version is published."""
        self._part = part
        self._kind = kind

    def path(self, role: str) -> Path:
        """Where the stage writes the file that plays a role."""
        return self.folder / f"{self._part}{self._kind.files[role].suffix}"


class Draft:
    """A version that is being made. Nobody sees it as an artifact before `publish`."""

    def __init__(self, folder: Path, kind: Kind, recipe: Recipe) -> None:
        self.folder = folder
        self.kind = kind
        self.recipe = recipe

    @property
    def _parts(self) -> Path:
        return self.folder / PARTS

    @property
    def checkpoints(self) -> Path:
        """A folder for what lets half a part resume; gone once the version is published."""
        return self.folder / "checkpoints"

    def find_part(self, name: str) -> PartRecord | None:
        """A part that is there; one of another recipe does not count."""
        path = self._parts / f"{name}{PART_SUFFIX}"
        if not path.is_file():
            return None
        record = PartRecord.from_json(read_json(path))
        return record if record.recipe == self.recipe.of_part(name) else None

    def finished(self) -> dict[str, PartRecord]:
        """The parts that are there, by name."""
        found = {name: self.find_part(name) for name in self.recipe.parts}
        return {name: record for name, record in found.items() if record is not None}

    def adopt(self, others: Iterable[Path]) -> int:
        """Links the parts that other versions of this kind have made by the same recipe."""
        wanted = {self.recipe.of_part(name): name for name in self.recipe.parts}
        for name in self.finished():
            wanted.pop(self.recipe.of_part(name))
        adopted = 0
        for folder in others:
            if not wanted:
                break
            for path in sorted((folder / PARTS).glob(f"*{PART_SUFFIX}")):
                record = PartRecord.from_json(read_json(path))
                name = wanted.get(record.recipe)
                if name == record.name and self._link(folder, record):
                    del wanted[record.recipe]
                    adopted += 1
        return adopted

    def _link(self, folder: Path, record: PartRecord) -> bool:
        if folder == self.folder:
            return False
        with store_errors(f"writing {self._parts}"):
            self._parts.mkdir(parents=True, exist_ok=True)
        for file in record.files.values():
            link_or_copy(folder / PARTS / file.name, self._parts / file.name)
        write_json(self._parts / f"{record.name}{PART_SUFFIX}", record.to_json())
        return True

    @contextlib.contextmanager
    def claim(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Holds a part for this process; False when another holds it and we do not `wait`."""
        with lock(self.folder / "locks" / name, wait=wait) as is_held:
            yield is_held

    def make_part(self, name: str, make: Callable[[Scratch], Product]) -> PartRecord:
        """Lets a stage write a part, checks it against its kind, and makes it visible.

        Raises StoreError where a file is not what the kind declares; then nothing is kept.
        """
        scratch_folder = self._parts / f"{TEMPORARY_PREFIX}{name}"
        with store_errors(f"writing {self._parts}"):
            shutil.rmtree(scratch_folder, ignore_errors=True)
            scratch_folder.mkdir(parents=True)
        try:
            with store_errors(f"writing {self._parts / name}"):
                scratch = Scratch(scratch_folder, name, self.kind, self.checkpoints)
                product = make(scratch)
                return self._seal(name, scratch, product)
        finally:
            shutil.rmtree(scratch_folder, ignore_errors=True)

    def _seal(self, name: str, scratch: Scratch, product: Product) -> PartRecord:
        files = {}
        for role, spec in self.kind.files.items():
            path = scratch.path(role)
            try:
                check_file(path, spec, rows=product.rows)
            except StoreError as error:
                where = f"{self.kind.name}/{self.recipe.version}, part {name}"
                raise StoreError(f"{where}: {error}; nothing was kept") from error
            sync(path)
            record = FileRecord(name=path.name, sha256=digest_file(path), bytes=path.stat().st_size)
            files[role] = record
        for role in files:
            scratch.path(role).replace(self._parts / files[role].name)
        sync(self._parts)
        record = PartRecord(
            name=name,
            rows=product.rows,
            recipe=self.recipe.of_part(name),
            files=files,
            facts=product.facts,
            shared=product.shared,
        )
        write_json(self._parts / f"{name}{PART_SUFFIX}", record.to_json())
        return record

    def publish(self, inputs: Mapping[str, Artifact], made_by: Mapping[str, Any]) -> Artifact:
        """Writes the manifest, once; of several finishers at once the first one wins.

        StoreError when a part is missing, or when parts disagree on what they must share.
        """
        with lock(self.folder / "locks" / "publish"):
            manifest_path = self.folder / MANIFEST
            if not manifest_path.is_file():
                write_json(manifest_path, self._manifest(inputs, made_by).to_json())
                shutil.rmtree(self.checkpoints, ignore_errors=True)
        return Artifact(self.folder)

    def _manifest(self, inputs: Mapping[str, Artifact], made_by: Mapping[str, Any]) -> Manifest:
        where = f"{self.kind.name}/{self.recipe.version}"
        finished = self.finished()
        absent = sorted(set(self.recipe.parts) - set(finished))
        if absent:
            raise StoreError(f"{where} cannot be published without its parts {', '.join(absent)}")
        parts = tuple(finished[name] for name in sorted(finished))
        for part in parts:
            if part.shared != parts[0].shared:
                raise StoreError(
                    f"{where} would mix parts that differ: "
                    f"{_difference(parts[0].shared, part.shared)} in {parts[0].name} and "
                    f"{part.name}; use another run (--run) for each"
                )
        return Manifest(
            kind=self.kind.name,
            format=self.kind.format,
            version=self.recipe.version,
            stage=self.recipe.stage,
            revision=self.recipe.revision,
            config=self.recipe.config,
            inputs={
                name: Input(kind=one.kind.name, version=one.version, content=one.content)
                for name, one in inputs.items()
            },
            parts=parts,
            facts=parts[0].shared if parts else {},
            made_by=made_by,
        )


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The first entry that differs, as text."""
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping) and left != right:
            return f"{key}.{_difference(left, right)}"
        if left != right:
            return f"{key} is {left!r} and {right!r}"
    return "nothing"
