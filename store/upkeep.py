"""Keeping a store: finding damage, removing what no run refers to."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .artifact import MANIFEST, PART_SUFFIX, PARTS, Artifact
from .digest import digest_file
from .errors import StoreError
from .files import TEMPORARY_PREFIX, lock, read_json
from .kinds import KINDS
from .manifest import PartRecord
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One file that is not what the store says it is."""

    path: Path
    what: str


def verify(artifact: Artifact) -> Iterator[Fault]:
    """Reads every byte of an artifact and yields what differs from its manifest."""
    path = artifact.folder / MANIFEST
    written = read_json(path)
    if written.get("content") != artifact.content:
        yield Fault(path=path, what="its content digest is not that of its parts")
    for part in artifact.parts:
        yield from _verify_part(artifact, part)
    for name, used in artifact.manifest.inputs.items():
        source = artifact.folder.parent.parent / used.kind / used.version / MANIFEST
        if source.is_file() and Artifact(source.parent).content != used.content:
            yield Fault(path=source, what=f"was changed since {artifact.kind.name} used it: {name}")


def _verify_part(artifact: Artifact, part: PartRecord) -> Iterator[Fault]:
    small = artifact.folder / PARTS / f"{part.name}{PART_SUFFIX}"
    if not small.is_file():
        yield Fault(path=small, what="is missing")
    elif PartRecord.from_json(read_json(small)) != part:
        yield Fault(path=small, what="differs from the manifest")
    for file in part.files.values():
        path = artifact.folder / PARTS / file.name
        if not path.is_file():
            yield Fault(path=path, what="is missing")
        elif path.stat().st_size != file.bytes:
            yield Fault(path=path, what=f"has {path.stat().st_size} bytes instead of {file.bytes}")
        elif digest_file(path) != file.sha256:
            yield Fault(path=path, what="has other bytes than were written")


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """A folder that no run refers to."""

    path: Path
    bytes: int
    what: str


def find_garbage(store: Store) -> list[Garbage]:
    """Versions and drafts that no run refers to, directly or through inputs; temporary files."""
    kept = _referred(store)
    garbage = []
    for artifact in store.artifacts():
        if artifact.folder not in kept:
            garbage.append(_measure(artifact.folder, "a version that no run refers to"))
    for folder in store.drafts():
        if folder not in kept:
            garbage.append(_measure(folder, "an unfinished version that no run refers to"))
    known = {one.path for one in garbage}
    for path in sorted(store.root.rglob(f"{TEMPORARY_PREFIX}*")):
        if not known.intersection(path.parents):
            garbage.append(_measure(path, "left behind by a process that was stopped"))
    return garbage


def collect(store: Store) -> list[Garbage]:
    """Removes the garbage; StoreError while another command is writing to the store."""
    with lock(store.root / "lock", wait=False) as is_held:
        if not is_held:
            raise StoreError(
                f"another command is writing to the store {store.root}: run gc when it is done"
            )
        garbage = find_garbage(store)
        for one in garbage:
            (one.path / MANIFEST).unlink(missing_ok=True)
            if one.path.is_dir():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
        return garbage


def _referred(store: Store) -> set[Path]:
    waiting = []
    for name in store.runs.names():
        record = store.runs.read(name)
        for versions in (record.versions, record.making):
            for slot, version in versions.items():
                waiting.append(store.root / slot.partition("/")[0] / version)
    kept: set[Path] = set()
    while waiting:
        folder = waiting.pop()
        if folder in kept:
            continue
        kept.add(folder)
        if (folder / MANIFEST).is_file():
            for used in Artifact(folder).manifest.inputs.values():
                waiting.append(store.folder(KINDS[used.kind], used.version))
    return kept


def _measure(path: Path, what: str) -> Garbage:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return Garbage(path=path, bytes=sum(one.stat().st_size for one in files), what=what)
