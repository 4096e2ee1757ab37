"""Writing an artifact part by part, and publishing it whole."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .artifact import Artifact
from .backend import Backend, backend_of
from .check import check_file
from .errors import StoreError
from .files import json_bytes, parse_json
from .kinds import Kind
from .manifest import MANIFEST, PART_SUFFIX, PARTS, Input, Manifest, PartRecord, Recipe
from .paths import StorePath

log = logging.getLogger(__name__)

_GROUP_ROWS, _GROUP_NUMBERS = 1 << 20, 2**31 - 1
"""Most rows of a row group, Arrow's default, and most numbers of vectors in one, which Arrow reads.
"""


@dataclass(frozen=True, kw_only=True)
class Product:
    """What a stage reports about the part that it has just written."""

    rows: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts about this part alone, e.g. counts, or whether its shard was whole."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the whole artifact: equal in all parts; become the manifest's facts."""


class Scratch:
    """A folder for one part while it is made; its files become those of the part."""

    def __init__(self, folder: Path, part: str, kind: Kind, checkpoints: Path) -> None:
        self.folder = folder
        self.checkpoints = checkpoints
        """A folder for checkpoints, from which an unfinished part resumes."""
        self._part = part
        self._kind = kind

    def path(self, role: str) -> Path:
        """The path to which the stage writes the file of a role."""
        return self.folder / f"{self._part}{self._kind.files[role].suffix}"

    def write_table(
        self,
        role: str,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        numbers: Sequence[int | str] = (),
    ) -> None:
        """Writes the table of a role, from columns by name or a list of rows: `Table.to_arrow`.

        Nothing is compressed, so that any reader can map vectors into memory.
        """
        import pyarrow.parquet as pq

        table = self._kind.table(role).to_arrow(values, numbers=numbers)
        scalars = [name for name in table.schema.names if name != "embedding"]
        widths = [field.type.list_size for field in table.schema if field.name == "embedding"]
        pq.write_table(
            table,
            self.path(role),
            row_group_size=min(_GROUP_ROWS, _GROUP_NUMBERS // max([1, *widths])),
            use_dictionary=False,
            compression="none",
            write_statistics=scalars,  # pyright: ignore[reportArgumentType]
        )


class Draft:
    """A version that is being made; it becomes an artifact with `publish`."""

    def __init__(self, folder: StorePath, kind: Kind, recipe: Recipe) -> None:
        self.folder = folder
        self.kind = kind
        self.recipe = recipe

    @property
    def _backend(self) -> Backend[Any]:
        return backend_of(self.folder)

    @property
    def _parts(self) -> StorePath:
        return self.folder / PARTS

    @property
    def checkpoints(self) -> Path:
        """A folder for checkpoints, from which an unfinished part resumes; removed on publishing.

        For a store in a bucket it lies on this machine, where other machines do not see it.
        """
        return self._backend.checkpoints(self.folder)

    def find_part(self, name: str) -> PartRecord | None:
        """A finished part, unless it was made by another recipe."""
        path = self._parts / f"{name}{PART_SUFFIX}"
        value = self._backend.find_json(path)
        record = None if value is None else PartRecord.from_json(value, path)
        return record if record and self._is_ours(record) else None

    def _is_ours(self, record: PartRecord) -> bool:
        """Whether a part of this version has its current recipe; StoreError for wrong facts."""
        if record.recipe != self.recipe.of_part(record.name):
            return False
        record.require(self.kind.name, self._parts / f"{record.name}{PART_SUFFIX}")
        return True

    def finished(self) -> dict[str, PartRecord]:
        """The finished parts, by name."""
        return {
            record.name: record
            for record in self._backend.part_records(self._parts, self.recipe.parts)
            if self._is_ours(record)
        }

    def adopt(self, others: Iterable[StorePath]) -> int:
        """Takes parts that other versions made by the same recipe; returns how many."""
        is_taken = self._backend.each(lambda pair: self._adopt(*pair), self._made_elsewhere(others))
        return sum(is_taken)

    def made_parts(self, others: Iterable[StorePath]) -> frozenset[str]:
        """The names of the parts that are finished here or in other versions; writes nothing."""
        return frozenset(
            {*self.finished(), *(record.name for _, record in self._made_elsewhere(others))}
        )

    def _made_elsewhere(self, others: Iterable[StorePath]) -> list[tuple[StorePath, PartRecord]]:
        """Parts that are missing here and that other versions made by the same recipe."""
        finished = self.finished()
        # By name, as parts that were made from equal bytes, such as none, have one recipe.
        missing = {
            name: self.recipe.of_part(name) for name in self.recipe.parts if name not in finished
        }
        parts: list[tuple[StorePath, PartRecord]] = []
        for folder in others:
            if not missing:
                break
            if folder == self.folder:
                continue
            for record in self._readable(folder / PARTS, sorted(missing)):
                if missing.get(record.name) == record.recipe:
                    del missing[record.name]
                    parts.append((folder / PARTS, record))
        return parts

    def _readable(self, parts: StorePath, names: Collection[str]) -> list[PartRecord]:
        """The named parts of another version; none if its small files are damaged."""
        try:
            records = list(self._backend.part_records(parts, names))
            for record in records:
                record.require(self.kind.name, parts / f"{record.name}{PART_SUFFIX}")
            return records
        except StoreError as error:
            log.warning("%s; its parts are made again", error)
            return []

    def _adopt(self, others: StorePath, record: PartRecord) -> bool:
        """Takes a part of another version; False if it exists here by now, or a process makes it.

        False also if a file of the other version is lost or damaged: on a disk its digest is
        compared, so it is read once, because damage would pass into every later version.
        """
        # Without the claim, whoever is making the part would replace the files after they were
        # published, and the manifest would have other digests than the folder.
        with self.claim(record.name, wait=False) as is_held:
            if not is_held or self.find_part(record.name) is not None:
                return False
            for file in record.files.values():
                if not self._backend.is_whole(others / file.name, file):
                    log.warning("%s is damaged, so its part is made again", others / file.name)
                    return False
            self._backend.adopt(others, record, self._parts)
            return True

    @contextlib.contextmanager
    def claim(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Holds a part for this process; yields False without `wait` if another holds it."""
        with self._backend.lock(self.folder / "locks" / name, wait=wait) as is_held:
            yield is_held

    def make_part(self, name: str, make: Callable[[Scratch], Product]) -> PartRecord:
        """Calls `make` to write a part, checks its files against the kind, and makes it visible.

        StoreError if a file is not what the kind declares; then nothing is kept.
        """
        with self._backend.scratch(self._parts, name) as folder:
            scratch = Scratch(folder, name, self.kind, self.checkpoints)
            return self._seal(name, scratch, make(scratch))

    def _seal(self, name: str, scratch: Scratch, product: Product) -> PartRecord:
        files = {role: scratch.path(role) for role in self.kind.files}
        for role, spec in self.kind.files.items():
            try:
                check_file(files[role], spec, rows=product.rows, are_finite=True)
            except StoreError as error:
                part_label = f"{self.kind.name}/{self.recipe.version}, part {name}"
                raise StoreError(f"{part_label}: {error}; nothing was kept") from error
        record = PartRecord(
            name=name,
            rows=product.rows,
            recipe=self.recipe.of_part(name),
            files=self._backend.take_in(name, files, self._parts),
            facts=product.facts,
            shared=product.shared,
        )
        return self._backend.keep_part(self._parts / f"{name}{PART_SUFFIX}", record)

    def publish(self, inputs: Mapping[str, Artifact], made_by: Mapping[str, Any]) -> Artifact:
        """Writes the manifest, once; of several finishing processes the first wins.

        StoreError if a part is missing, or if parts differ in what they must share.
        """
        path = self.folder / MANIFEST

        def make() -> dict[str, Any]:
            value = self._manifest(inputs, made_by).to_json()
            # A manifest that could not be read again is not written.
            Manifest.from_json(parse_json(json_bytes(value), path), path)
            return value

        self._backend.write_once(path, make)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return Artifact(self.folder)

    def _manifest(self, inputs: Mapping[str, Artifact], made_by: Mapping[str, Any]) -> Manifest:
        version_name = f"{self.kind.name}/{self.recipe.version}"
        finished = self.finished()
        missing = sorted(set(self.recipe.parts) - set(finished))
        if missing:
            raise StoreError(
                f"{version_name} cannot be published without its parts {', '.join(missing)}"
            )
        parts = tuple(finished[name] for name in sorted(finished))
        for part in parts:
            if part.shared != parts[0].shared:
                raise StoreError(
                    f"{version_name} would mix parts that differ: "
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
                name: Input(
                    kind=artifact.kind.name, version=artifact.version, content=artifact.content
                )
                for name, artifact in inputs.items()
            },
            parts=parts,
            facts=parts[0].shared if parts else {},
            made_by=made_by,
        )


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """The first entry that differs, as text."""
    for key in sorted({*first, *second}):
        left, right = first.get(key), second.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping) and left != right:
            return f"{key}.{_difference(left, right)}"
        if left != right:
            return f"{key} is {left!r} and {right!r}"
    return "nothing"
