"""The backend for a bucket: a file's name holds the digest of its bytes.

Objects cannot be renamed, and a lease cannot quite rule out that two processes make the same part.
Their files never mix: the first small file that is written names the files of one process.
"""

import contextlib
from collections import Counter
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
"""Age below which `gc` keeps a file that no small file names: the part may still be uploading, and
clocks may differ. S3 refuses clocks that differ by more than 15 minutes."""

_NAME_DIGITS = 16
"""Hex digits of the digest in a name: 64 bits, enough for the files of one part."""


def is_file(path: "UPath") -> bool:
    """Whether an object exists."""
    return size(path) is not None


def is_whole(path: "UPath", file: FileRecord) -> bool:
    """Whether an object has the size of its record: its bytes would all have to be fetched."""
    return size(path) == file.bytes


def names(path: "UPath") -> list[str]:
    """The names of the objects directly below a path, sorted."""
    return sorted(below.name for below in objects.sizes(path) if below.parent == path)


def read_json(path: "UPath") -> Any:
    """The JSON value in an object that must exist."""
    value = find_json(path)
    if value is None:
        raise StoreError(f"{path} is missing: restore it or remove its folder")
    return value


def write_once(path: "UPath", make: Callable[[], Any]) -> None:
    """Creates a small object; of several writers at once the first wins."""
    if not is_file(path):
        objects.create_json(path, make())


def scratch(parts: "UPath", name: str) -> contextlib.AbstractContextManager[Path]:
    """A folder of this machine for one part while it is made; removed afterwards."""
    return cache.scratch()


def take_in(name: str, files: Mapping[str, Path], parts: "UPath") -> dict[str, FileRecord]:
    """Uploads the files of a part, and keeps them as copies on this machine."""

    def upload(role: str) -> FileRecord:
        local = files[role]
        sha256, length = digest_file(local), local.stat().st_size
        file = FileRecord(name=_named(name, local.name, sha256), sha256=sha256, bytes=length)
        objects.upload(local, parts / file.name)
        cache.add(local, file)
        return file

    return dict(zip(files, each(upload, files), strict=True))


def _named(part: str, name: str, sha256: str) -> str:
    """The name of a part's file, with the digest of its bytes."""
    mark = f".{sha256[:_NAME_DIGITS]}"
    return f"{part}{mark}{name.removeprefix(part).removeprefix(mark)}"


def keep_part(path: "UPath", record: PartRecord) -> PartRecord:
    """Creates a part's small file; returns its record, which another process may have written."""
    if objects.create_json(path, record.to_json()):
        return record
    first = PartRecord.from_json(read_json(path), path)
    if first.recipe != record.recipe:
        write_json(path, record.to_json())
        return record
    theirs = {file.name for file in first.files.values()}
    ours = {file.name for file in record.files.values()}
    objects.remove(path.with_name(name) for name in ours - theirs)
    return first


def part_records(parts: "UPath", names: Collection[str]) -> Iterator[PartRecord]:
    """Records of the named parts that exist: from the manifest, or from small files."""
    manifest = find_json(parts.parent / MANIFEST)
    if manifest is not None:
        published = Manifest.from_json(manifest, parts.parent / MANIFEST).parts
        yield from (record for record in published if record.name in names)
        return
    existing = {path.name for path in objects.sizes(parts)}
    paths = [parts / f"{name}{PART_SUFFIX}" for name in names]
    present = [path for path in paths if path.name in existing]
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
    """A copy on this machine, made on first use."""
    return cache.fetch(path, file)


def find_copy(file: FileRecord) -> Path | None:
    """The copy of a file on this machine, if any."""
    return cache.find(file)


def local_folder(root: "UPath") -> Path:
    """A folder of this machine for files of a store that belong to none of its artifacts."""
    return cache.folder_for(root, "stores")


def checkpoints(version: "UPath") -> Path:
    """A folder for checkpoints, on this machine and for it alone."""
    return cache.folder_for(version, "checkpoints")


def bytes_freed(path: "UPath", names: Counter[tuple[int, int]]) -> int:
    """Bytes of an object, or of all objects below a path; an object has one name."""
    return sum(objects.sizes(path).values())


def leftovers(root: "UPath", kept: Iterable["UPath"]) -> Iterator[tuple["StorePath", str]]:
    """Files of unfinished parts, expired leases, and copies that nobody uses."""
    reason = "left behind by a process that was stopped"
    for path in objects.sizes(root):
        if leases.is_expired(path):
            yield path, reason
    for version in kept:
        paths = list(objects.sizes(version / PARTS))
        small_files = {path for path in paths if path.name.endswith(PART_SUFFIX)}
        names = [path.name.removesuffix(PART_SUFFIX) for path in small_files]
        records = part_records(version / PARTS, names)
        needed = {file.name for record in records for file in record.files.values()}
        for path in paths:
            is_orphan = path not in small_files and path.name not in needed
            if is_orphan and objects.age_seconds(path) > ORPHAN_SECONDS:
                yield path, reason
    yield from cache.leftovers()


def remove(path: "UPath") -> None:
    """Removes an object, or all below a path; manifests and small files of parts go first."""
    objects.remove([path / MANIFEST])
    paths = list(objects.sizes(path))
    objects.remove(below for below in paths if below.name.endswith(PART_SUFFIX))
    objects.remove(below for below in paths if not below.name.endswith(PART_SUFFIX))
