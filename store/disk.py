"""The backend for a disk: files appear by renaming, and the operating system locks."""

import contextlib
import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from . import integrity
from .digest import digest_file
from .errors import StoreError
from .files import (
    TEMPORARY_PREFIX,
    link_or_copy,
    read_json,
    reading,
    replace,
    store_errors,
    sync,
)
from .files import write_json as replace_json
from .files import write_whole as replace_whole
from .kinds import KINDS
from .leftovers import has_owner, is_in_use
from .locks import lock as lock_file
from .manifest import MANIFEST, PART_SUFFIX, PARTS, STORE_FILE, FileRecord, PartRecord
from .parsing import is_version

T = TypeVar("T")
U = TypeVar("U")


def digest(path: Path) -> str:
    """SHA-256, in hex, of a file's present bytes."""
    with reading(path):
        return digest_file(path)


_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of what does not exist; a link to itself leads to nothing."""

_OWN_FOLDERS = frozenset((*KINDS, "runs", "shards", "demo", "reports", "figures"))
"""Folders in a store's root that commands write to."""

_DEPTH = 5
"""Levels of a store: its root, a kind, a version, the parts, and a scratch folder."""


def _refuse_links(folder: Path) -> None:
    """StoreError if a folder, or one between it and the root of its store, is a link.

    A copied store may hold links to any place: nothing is written or removed through one.
    """
    links = []
    for place in (folder, *folder.parents)[:_DEPTH]:
        if (place / STORE_FILE).is_file():
            break
        if place.is_symlink():
            links.append(place)
    else:
        return  # not inside a store
    if links:
        raise StoreError(
            f"{links[0]} is a link, and nothing is written through a link in a store: put the "
            "folder itself there"
        )


def _mode(path: Path) -> int:
    """The type and the rights of a file or a folder; 0 if there is none.

    From Python 3.14 on `Path.is_file` also says that there is none where it may not look, and `gc`
    must not take a run that it cannot read for one that is gone.
    """
    try:
        return path.stat().st_mode
    except ValueError:  # a name that no disk has
        return 0
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return 0


def is_file(path: Path) -> bool:
    """Whether a file exists."""
    with reading(path):
        return stat.S_ISREG(_mode(path))


def size(path: Path) -> int | None:
    """Size of a file in bytes; None if it does not exist."""
    with reading(path):
        return path.stat().st_size if is_file(path) else None


def is_whole(path: Path, file: FileRecord) -> bool:
    """Whether a file of a part has the size and the digest of its record; reads all of it."""
    return integrity.is_whole(path, file, is_read_whole=True)


def folders(path: Path) -> list[Path]:
    """The folders in a folder, sorted; none if it does not exist."""
    with reading(path):
        children = path.iterdir() if stat.S_ISDIR(_mode(path)) else ()
        return sorted(child for child in children if stat.S_ISDIR(_mode(child)))


def names(path: Path) -> list[str]:
    """The names of the files in a folder, sorted; none if it does not exist."""
    with reading(path):
        files = path.iterdir() if stat.S_ISDIR(_mode(path)) else ()
        return sorted(file.name for file in files if stat.S_ISREG(_mode(file)))


def find_json(path: Path) -> Any | None:
    """The JSON value in a small file; None if it does not exist."""
    return read_json(path) if is_file(path) else None


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    _refuse_links(path.parent)
    with store_errors(f"writing {path}"):
        replace_whole(path, content)


def write_json(path: Path, value: Any) -> None:
    """Writes a small file, whole or not at all."""
    _refuse_links(path.parent)
    replace_json(path, value)


def lock(
    path: Path, *, shared: bool = False, wait: bool = True
) -> contextlib.AbstractContextManager[bool]:
    """Holds a lock of the operating system; without `wait` yields at once whether it is held."""
    _refuse_links(path.parent)
    return lock_file(path, shared=shared, wait=wait)


def write_once(path: Path, make: Callable[[], Any]) -> None:
    """Writes a small file that does not exist; of several writers at once the first wins."""
    with lock(path.parent / "locks" / "publish"):
        if not path.is_file():
            write_json(path, make())


def writing(root: Path) -> contextlib.AbstractContextManager[object]:
    """Keeps `collecting` away from a store; any number of processes may hold it."""
    return lock(root / "lock", shared=True)


def collecting(root: Path) -> contextlib.AbstractContextManager[bool]:
    """Keeps writers away from a store; yields False if a writer is at work."""
    return lock(root / "lock", wait=False)


@contextlib.contextmanager
def scratch(parts: Path, name: str) -> Iterator[Path]:
    """A folder beside the parts for one that is being made; removed afterwards."""
    _refuse_links(parts)
    folder = parts / f"{TEMPORARY_PREFIX}{name}"
    with store_errors(f"writing {parts}"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        with store_errors(f"writing {parts / name}"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def take_in(name: str, files: Mapping[str, Path], parts: Path) -> dict[str, FileRecord]:
    """Moves the files of a part, by role, from its scratch folder to the parts' folder."""
    records = {}
    for role, path in files.items():
        sync(path)
        length = path.stat().st_size
        records[role] = FileRecord(name=path.name, sha256=digest_file(path), bytes=length)
    for path in files.values():
        replace(path, parts / path.name)
    sync(parts)
    return records


def keep_part(path: Path, record: PartRecord) -> PartRecord:
    """Writes a part's small file; the caller holds the part's lock, so nobody else was first."""
    write_json(path, record.to_json())
    return record


def part_records(parts: Path, names: Collection[str]) -> Iterator[PartRecord]:
    """Records of the named parts that exist."""
    for name in names:
        path = parts / f"{name}{PART_SUFFIX}"
        value = find_json(path)
        if value is not None:
            yield PartRecord.from_json(value, path)


def adopt(others: Path, record: PartRecord, parts: Path) -> None:
    """Links a part of another version, or copies it if the disk has no links."""
    _refuse_links(parts)
    _refuse_links(others)
    with store_errors(f"writing {parts}"):
        parts.mkdir(parents=True, exist_ok=True)
    for file in record.files.values():
        link_or_copy(others / file.name, parts / file.name)
    write_json(parts / f"{record.name}{PART_SUFFIX}", record.to_json())


def local_path(path: Path, file: FileRecord) -> Path:
    """The path at which this machine reads a file of a part: that in the store itself."""
    return path


def find_copy(file: FileRecord) -> None:
    """None: files are read from the store itself."""
    return


def local_folder(root: Path) -> Path:
    """A folder of this machine for files that belong to no artifact: the store itself."""
    return root


def checkpoints(version: Path) -> Path:
    """A folder for checkpoints, from which an unfinished part resumes."""
    return version / "checkpoints"


def bytes_freed(path: Path, names: Counter[tuple[int, int]]) -> int:
    """Bytes that removing a file, or all files below a folder, frees: see `Backend`."""
    total = 0
    for file in [path] if path.is_symlink() or not path.is_dir() else _below(path):
        with contextlib.suppress(FileNotFoundError):  # another command removes its own
            status = file.lstat()
            if stat.S_ISLNK(status.st_mode) or stat.S_ISREG(status.st_mode):
                inode = status.st_dev, status.st_ino
                names[inode] += 1
                total += status.st_size if names[inode] >= status.st_nlink else 0
    return total


def _below(folder: Path) -> Iterator[Path]:
    """All files and folders below a folder, but for what other commands remove meanwhile.

    `Path.rglob` ends with an error where a folder is gone before it is listed.
    """

    def pass_over(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise error

    for place, names, files in os.walk(folder, onerror=pass_over):
        yield from (Path(place, name) for name in (*names, *files))


def leftovers(root: Path, kept: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Temporary files and folders; outside of versions only those that nobody writes any more.

    Reports and exports may be written there without the lock that keeps writers of versions away.
    What is not the store's own, in a folder of the user's around it, stays.
    """
    kept_whole: set[Path] = set()
    temporary = [path for path in _below(root) if path.name.startswith(TEMPORARY_PREFIX)]
    for path in sorted(temporary):
        if not kept_whole.isdisjoint(path.parents):
            continue
        place = path.relative_to(root)
        is_ours = place.parts[0] in _OWN_FOLDERS or has_owner(path)
        if not _is_in_version(place) and (is_in_use(path) or not is_ours):
            kept_whole.add(path)
        else:
            yield path, "left behind by a process that was stopped"


def _is_in_version(path: Path) -> bool:
    """Whether a path in a store, KIND/VERSION/..., lies in a version."""
    return len(path.parts) > 2 and is_version(path.parts[1])


def remove(path: Path) -> None:
    """Removes a file or a folder; its manifest and the small files of parts go first."""
    _refuse_links(path.parent)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    (path / MANIFEST).unlink(missing_ok=True)
    if not (path / PARTS).is_symlink():
        for small_file in (path / PARTS).glob(f"*{PART_SUFFIX}"):
            small_file.unlink(missing_ok=True)
    shutil.rmtree(path)


def each(act: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """The results of `act`, in order."""
    return [act(item) for item in items]
