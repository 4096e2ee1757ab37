"""Damage in a store, and files that no run refers to."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .artifact import Artifact
from .backend import backend_of
from .counting import counted
from .digest import digest_file
from .errors import FormatError, NewerFormatError, StoreError
from .files import TEMPORARY_PREFIX
from .manifest import MANIFEST, PART_SUFFIX, PARTS, PartRecord
from .parsing import Fields
from .paths import StorePath, is_in_bucket
from .slots import kind_of
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file that differs from its record."""

    path: StorePath
    what: str


def verify(artifact: Artifact, *, is_quick: bool = False) -> Iterator[Fault]:
    """Reads every byte of an artifact and yields the files that differ from its manifest.

    `is_quick` only compares the sizes of files, and reads nothing but the manifest.
    """
    backend = backend_of(artifact.folder)
    path = artifact.folder / MANIFEST
    try:
        manifest = artifact.manifest
    except StoreError as error:
        yield _fault_of(error, path)
        return

    def check(part: PartRecord) -> list[Fault]:
        return list(_verify_files(artifact, part, is_quick=is_quick))

    for faults in backend.each(check, artifact.parts):
        yield from faults
    for name, used in manifest.inputs.items():
        source = artifact.folder.parent.parent / used.kind / used.version
        try:
            is_there = backend.is_file(source / MANIFEST)
            is_changed = is_there and Artifact(source).content != used.content
        except StoreError:  # a fault of the source, which is found where that is verified
            continue
        if is_changed:
            what = f"was changed since {artifact.kind.name} used it: {name}"
            yield Fault(path=source / MANIFEST, what=what)


def verify_runs(store: Store) -> Iterator[Fault]:
    """Damaged records and decisions of runs, and versions that a run has and the store has lost."""
    for name in store.runs.names():
        try:
            store.runs.edits(name).read()
        except StoreError as error:
            path = store.root / "runs" / name
            yield Fault(path=path, what=f"has a damaged log of decisions: {error}")
        try:
            versions = store.runs.read(name).versions
        except StoreError as error:
            yield _fault_of(error, store.root / "runs" / name / "run.json")
            continue
        for slot, version in versions.items():
            if store.find(kind_of(slot), version) is None:
                path = store.folder(kind_of(slot), version) / MANIFEST
                yield Fault(path=path, what=f"is missing, but run {name!r} refers to it")


def _verify_files(artifact: Artifact, part: PartRecord, *, is_quick: bool) -> Iterator[Fault]:
    backend = backend_of(artifact.folder)
    if not is_quick:
        yield from _verify_record(artifact, part)
    for file in part.files.values():
        path = artifact.folder / PARTS / file.name
        try:
            size = backend.size(path)
            if size is None:
                yield Fault(path=path, what="is missing")
            elif size != file.bytes:
                yield Fault(
                    path=path, what=f"has {counted(size, 'byte')} instead of {file.bytes:,}"
                )
            elif not is_quick and backend.digest(path) != file.sha256:
                yield Fault(path=path, what="has other bytes than were written")
        except StoreError as error:
            yield _fault_of(error, path)
        copy = None if is_quick else backend.find_copy(file)
        if copy is not None and digest_file(copy) != file.sha256:
            yield Fault(path=copy, what=f"is no longer a copy of {path}: remove it")


def _verify_record(artifact: Artifact, part: PartRecord) -> Iterator[Fault]:
    """The fault of a part's small file, if it has one."""
    small = artifact.folder / PARTS / f"{part.name}{PART_SUFFIX}"
    try:
        value = backend_of(small).find_json(small)
        if value is None:
            yield Fault(path=small, what="is missing")
        elif PartRecord.from_json(value, small) != part:
            yield Fault(path=small, what="differs from the manifest")
    except StoreError as error:
        yield _fault_of(error, small)


def _fault_of(error: StoreError, path: StorePath) -> Fault:
    return Fault(path=path, what=str(error).removeprefix(f"{path} "))


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """A file or a folder that no run refers to."""

    path: StorePath
    bytes: int
    """What removing it frees, if what is listed before it is removed too."""
    what: str


def find_garbage(store: Store) -> list[Garbage]:
    """Versions and drafts that no run refers to, directly or through inputs; temporary files.

    While another command writes to the store, temporary files may be its own, and are left out.
    """
    garbage = _find_garbage(store)
    temporary = [item for item in garbage if item.path.name.startswith(TEMPORARY_PREFIX)]
    if not temporary or is_in_bucket(store.root) or not _is_being_written(store):
        return garbage
    return [item for item in garbage if item not in temporary]


def _is_being_written(store: Store) -> bool:
    """Whether another command writes to a store; also where this user cannot find out."""
    try:
        with backend_of(store.root).collecting(store.root) as is_held:
            return not is_held
    except StoreError:
        return True


def _find_garbage(store: Store) -> list[Garbage]:
    kept = _with_sources([*_referred_folders(store), *_newer_folders(store)])
    readable = [folder for folder in kept if not _is_of_another_format(folder)]
    found: list[tuple[StorePath, str]] = []
    for artifact in store.artifacts():
        if artifact.folder not in kept:
            found.append((artifact.folder, "a version that no run refers to"))
    for folder in store.drafts():
        if folder not in kept:
            found.append((folder, "an unfinished version that no run refers to"))
    known = {path for path, _ in found}
    for path, what in backend_of(store.root).leftovers(store.root, readable):
        if not known.intersection(path.parents):
            found.append((path, what))
    names: Counter[tuple[int, int]] = Counter()
    return [
        Garbage(path=path, bytes=backend_of(path).bytes_freed(path, names), what=what)
        for path, what in found
    ]


def collect(store: Store) -> list[Garbage]:
    """Removes the garbage; StoreError while another command writes to the store."""
    with backend_of(store.root).collecting(store.root) as is_held:
        if not is_held:
            killed = ", or a minute after it was killed" if is_in_bucket(store.root) else ""
            raise StoreError(
                f"another command is writing to the store {store.root}: run gc when it is "
                f"done{killed}"
            )
        garbage = _find_garbage(store)
        for item in garbage:
            backend_of(item.path).remove(item.path)
        return garbage


def _referred_folders(store: Store) -> Iterator[StorePath]:
    """The folders of the versions that runs have or are making."""
    for name in store.runs.names():
        record = store.runs.read(name)
        for versions in (record.versions, record.making):
            for slot, version in versions.items():
                yield store.folder(kind_of(slot), version)


def _newer_folders(store: Store) -> Iterator[StorePath]:
    """The folders of versions that a newer version of cpp-pipe made: it may still need them."""
    for artifact in store.artifacts():
        try:
            _ = artifact.manifest
        except NewerFormatError:
            yield artifact.folder
        except StoreError as error:
            # Damaged, or of an older version: kept only if a run refers to it. One that cannot be
            # read just now may be anything.
            if isinstance(error.__cause__, OSError):
                yield artifact.folder


def _with_sources(waiting: list[StorePath]) -> set[StorePath]:
    """Folders of versions, and of all that these were made from."""
    kept: set[StorePath] = set()
    while waiting:
        folder = waiting.pop()
        if folder not in kept:
            kept.add(folder)
            waiting += _sources(folder)
    return kept


def _sources(folder: StorePath) -> list[StorePath]:
    """The folders of what a version was made from; none if it is unfinished.

    Manifests of every format say this in the same way.
    """
    backend, path, root = backend_of(folder), folder / MANIFEST, folder.parent.parent
    if not backend.is_file(path):
        return []
    try:
        inputs = Artifact(folder).manifest.inputs.values()
        return [root / used.kind / used.version for used in inputs]
    except FormatError:
        fields = Fields(backend.read_json(path), path).objects("inputs").values()
        return [root / used.plain_name("kind") / used.version("version") for used in fields]


def _is_of_another_format(folder: StorePath) -> bool:
    """Whether a version is published in a format that this version of cpp-pipe does not read."""
    if not backend_of(folder).is_file(folder / MANIFEST):
        return False
    try:
        _ = Artifact(folder).manifest
    except FormatError:
        return True
    return False
