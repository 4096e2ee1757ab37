"""A store in a bucket: no renames, so files get names that say what is in them.

A name holds the digest of the file's bytes. So two processes that make one part, as a lease cannot
wholly rule out, never mix theirs: the first small file that is written names the files of one.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cache, leases, objects
from .digest import digest_file
from .errors import StoreError
from .leases import collecting as collecting
from .leases import lock as lock
from .leases import writing as writing
from .manifest import MANIFEST, PART_SUFFIX, PARTS, FileRecord, Manifest, PartRecord
from .objects import digest as digest
from .objects import each as each
from .objects import find_json as find_json
from .objects import folders as folders
from .objects import size as size
from .objects import write_json as write_json
from .objects import write_whole as write_whole

if TYPE_CHECKING:
    from upath import UPath

    from .paths import StorePath

ORPHAN_SECONDS = 3600.0
"""For which `gc` leaves a file alone that no small file names: longer than clocks may differ by,
which S3 refuses beyond 15 minutes."""

_NAME_DIGITS = 16
"""Hex digits of a digest in a name: 64 bits, enough to tell the files of one part apart."""


def is_file(path: "UPath") -> bool:
    """Whether an object is there."""
    return size(path) is not None


def read_json(path: "UPath") -> Any:
    """The JSON value in an object that must be there."""
    found = find_json(path)
    if found is None:
        raise StoreError(f"{path} is missing: restore it or remove its folder")
    return found


def write_once(path: "UPath", make: Callable[[], Any]) -> None:
    """Creates a small object; of several writers at once the first one wins."""
    if not is_file(path):
        objects.create_json(path, make())


def scratch(parts: "UPath", name: str) -> contextlib.AbstractContextManager[Path]:
    """A folder of this machine for a part that is being made; gone afterwards."""
    return cache.scratch()


def take_in(name: str, files: Mapping[str, Path], parts: "UPath") -> dict[str, FileRecord]:
    """Uploads the files of a part; what was written here need not be fetched to be read here."""

    def upload(role: str) -> FileRecord:
        local = files[role]
        sha256, length = digest_file(local), local.stat().st_size
        file = FileRecord(name=_named(name, local.name, sha256), sha256=sha256, bytes=length)
        objects.upload(local, parts / file.name)
        cache.keep(local, file)
        return file

    return dict(zip(files, each(upload, files), strict=True))


def _named(part: str, name: str, sha256: str) -> str:
    """The name of a part's file with the digest of its bytes in it."""
    mark = f".{sha256[:_NAME_DIGITS]}"
    return f"{part}{mark}{name.removeprefix(part).removeprefix(mark)}"


def keep_part(path: "UPath", record: PartRecord) -> PartRecord:
    """Creates a part's small file; the record that stands there, where another was first."""
    if objects.create_json(path, record.to_json()):
        return record
    first = PartRecord.from_json(read_json(path), path)
    if first.recipe != record.recipe:
        write_json(path, record.to_json())
        return record
    named = {file.name for file in first.files.values()}
    ours = {file.name for file in record.files.values()}
    objects.remove(path.with_name(name) for name in ours - named)
    return first


def part_records(parts: "UPath", names: Collection[str]) -> Iterator[PartRecord]:
    """Those of the named parts that are there: by one manifest, or by their small files."""
    manifest = find_json(parts.parent / MANIFEST)
    if manifest is not None:
        published = Manifest.from_json(manifest, parts.parent / MANIFEST).parts
        yield from (record for record in published if record.name in names)
        return
    there = {path.name for path in objects.sizes(parts)}
    wanted = [parts / f"{name}{PART_SUFFIX}" for name in names]
    present = [path for path in wanted if path.name in there]
    for path, value in zip(present, each(find_json, present), strict=True):
        if value is not None:
            yield PartRecord.from_json(value, path)


def adopt(others: "UPath", record: PartRecord, parts: "UPath") -> None:
    """Copies a part of another version within the bucket."""
    files = {
        role: replace(file, name=_named(record.name, file.name, file.sha256))
        for role, file in record.files.items()
    }
    for role, file in files.items():
        objects.copy(others / record.files[role].name, parts / file.name)
    keep_part(parts / f"{record.name}{PART_SUFFIX}", replace(record, files=files))


def local_path(path: "UPath", file: FileRecord) -> Path:
    """A copy on this machine, made when it is first asked for."""
    return cache.fetch(path, file)


def find_copy(file: FileRecord) -> Path | None:
    """The copy that this machine keeps, if it keeps one."""
    return cache.find(file)


def local_folder(root: "UPath") -> Path:
    """A folder of this machine for what belongs to a store, but to none of its artifacts."""
    return cache.folder_for(root, "stores")


def checkpoints(version: "UPath") -> Path:
    """A folder for what lets half a part resume: on this machine, for it alone."""
    return cache.folder_for(version, "checkpoints")


def bytes_under(path: "UPath") -> int:
    """Bytes of an object, or of all below a path."""
    return sum(objects.sizes(path).values())


def leftovers(root: "UPath", kept: Iterable["UPath"]) -> Iterator[tuple["StorePath", str]]:
    """Uploads of parts that were not finished, leases that are over, and copies nobody uses."""
    what = "left behind by a process that was stopped"
    for path in objects.sizes(root):
        if leases.is_over(path):
            yield path, what
    for version in kept:
        there = list(objects.sizes(version / PARTS))
        smalls = {path for path in there if path.name.endswith(PART_SUFFIX)}
        names = [path.name.removesuffix(PART_SUFFIX) for path in smalls]
        records = part_records(version / PARTS, names)
        needed = {file.name for record in records for file in record.files.values()}
        for path in there:
            is_orphan = path not in smalls and path.name not in needed
            if is_orphan and objects.age_seconds(path) > ORPHAN_SECONDS:
                yield path, what
    yield from cache.leftovers()


def remove(path: "UPath") -> None:
    """Removes an object, or all below a path. What says that something is there goes first."""
    objects.remove([path / MANIFEST])
    rest = list(objects.sizes(path))
    objects.remove(one for one in rest if one.name.endswith(PART_SUFFIX))
    objects.remove(one for one in rest if not one.name.endswith(PART_SUFFIX))
