"""Folders of pictures as sources of samples: walked recursively, cut into runs that stay put."""

import contextlib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ....store.digest import digest_json
from ....store.errors import ShardError
from ..faults import Fault
from ..fields import MOST_TEXT_BYTES, SampleFields, read_fields
from ..input_kinds import PICTURE_SUFFIXES, is_visible, require_kind
from ..shards import natural_key, part_name
from .files import Glimpse, PictureFile, glimpse_all

MOST_PICTURES = 1000
"""In one run: with a shard's worth a part, a change costs little and files stay few."""
_MEAN_PICTURES = 1024
"""One name in so many ends a run, whatever stands around it."""
_BESIDE = frozenset({".txt", ".json", ".cls"})


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a folder."""

    name: str
    beside: Mapping[str, str]
    """The names of the files that say something of it, by their suffix without the dot."""


@dataclass(frozen=True, kw_only=True)
class FolderRun:
    """A run of pictures of one folder; it becomes one part."""

    path: Path
    """The folder that the user named."""
    folder: str
    """The folder of these pictures from there, with forward slashes; empty where it is that."""
    pictures: tuple[Picture, ...]
    size: int
    identity: str
    """Digest, in hex, of names, sizes and edges; the place of the folder is not in it."""

    @property
    def name(self) -> str:
        """What stands in the column `shard`: the folder, without the path that leads to it."""
        return shard_name(self.path, self.folder)

    @property
    def part_name(self) -> str:
        """The name of the part: safe in any file system."""
        return part_name(self.name, self.identity)

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator["FolderSamples"]:
        """Its pictures, each read when it is asked for.

        One that is gone by then is a fault. One that was changed makes another run of them, which
        the next look at the folder finds.
        """
        folder, inside = self.path / self.folder, PurePosixPath(self.folder)
        name = text_of(PurePosixPath(self.name).name)
        samples = tuple(
            FolderEntry(text_of(str(inside / one.name)), folder, one, name) for one in self.pictures
        )
        yield FolderSamples(samples)


class FolderEntry:
    """One picture of a folder that is open."""

    def __init__(self, key: str, folder: Path, picture: Picture, folder_name: str) -> None:
        self.key = key
        self.offset = 0
        self.file = PictureFile(folder / picture.name)
        self._beside = {suffix: folder / name for suffix, name in picture.beside.items()}
        self._folder_name = folder_name

    @property
    def size(self) -> int | None:
        """How many bytes the file had when it was read."""
        return self.file.size

    def read_image(self) -> bytes:
        """The bytes of the file."""
        return self.file.read()

    def fields(self) -> SampleFields:
        """What stands in the files beside it, and the name of the folder that it is in."""
        sizes, texts, known = {}, {}, {"folder": self._folder_name}
        for suffix, path in self._beside.items():
            try:
                size = path.stat().st_size
                texts[suffix] = path.read_bytes() if size <= MOST_TEXT_BYTES else b""
                sizes[suffix] = size
            except OSError as error:
                known[f"{suffix}_error"] = error.strerror or str(error)
        return read_fields(sizes, texts.__getitem__, **known)


class FolderSamples:
    """The pictures of a run that is open."""

    faults: tuple[Fault, ...] = ()
    complete = True
    why_cut: str | None = None

    def __init__(self, samples: tuple[FolderEntry, ...]) -> None:
        self.samples = samples
        self.suffixes = Counter(os.path.splitext(one.key)[1].lower()[1:] for one in samples)
        self.facts: Mapping[str, Any] = {"source": "images"}

    def sha256(self) -> str:
        """SHA-256, in hex, of the keys and the digests of all bytes that were read."""
        digest = hashlib.sha256()
        for one in self.samples:
            digest.update(f"{one.key}\0{one.file.sha256}\n".encode())
        return digest.hexdigest()


def find_runs(root: Path) -> list[FolderRun]:
    """The pictures below a folder, in runs; reads the first and last 4 KiB of each.

    Raises ConfigError for a folder of something else, ShardError where there is no picture.
    """
    cuts = [(folder, run) for folder, pictures in find_pictures(root) for run in cut(pictures)]
    top = os.fspath(root)
    paths = (os.path.join(top, folder, name) for folder, run in cuts for name in _names(run))
    glimpses = iter(glimpse_all(paths))
    return [_run_of(root, folder, run, glimpses) for folder, run in cuts]


def find_pictures(root: Path) -> list[tuple[str, list[Picture]]]:
    """What `walk` gives, which must be something; else an error that says what is there."""
    if not root.exists():
        above = next(one for one in root.absolute().parents if one.exists())
        raise ShardError(f"there is no folder {root} (the path exists as far as {above})")
    found = list(walk(root)) if root.is_dir() else []
    if not found:
        require_kind(root, "pictures")
        known = ", ".join(sorted(PICTURE_SUFFIXES))
        what = "and the folders below it hold no picture" if root.is_dir() else "is no folder"
        raise ShardError(f"{root} {what}: a folder of pictures is asked for, which are {known}")
    return found


def walk(root: Path) -> Iterator[tuple[str, list[Picture]]]:
    """Every folder from `root` down that holds pictures, and these, all in natural order.

    Hidden files and folders are left out, and `__MACOSX`. A link to a folder is followed once, and
    not at all where it leads back: to what `root` is in, or what is in it.
    """
    real_root = os.path.realpath(root)
    seen = {real_root}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        own, below = _scan(root / folder)
        if own:
            yield folder, own
        entered = []
        for name in below:
            path = os.path.join(root, folder, name)
            real = os.path.realpath(path)
            if real in seen or (os.path.islink(path) and _overlap(real, real_root)):
                continue
            seen.add(real)
            entered.append(f"{folder}/{name}" if folder else name)
        waiting += reversed(entered)


def cut(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Runs of at most a thousand pictures, in order.

    Where a run ends depends on names: so one that comes in between changes its own run, and not
    all that follow it.
    """
    run: list[Picture] = []
    for picture in pictures:
        run.append(picture)
        digest = hashlib.sha256(os.fsencode(picture.name)).digest()
        if len(run) == MOST_PICTURES or int.from_bytes(digest[:4]) % _MEAN_PICTURES == 0:
            yield run
            run = []
    if run:
        yield run


def shard_name(root: Path, folder: str) -> str:
    """The name of a folder of pictures: that of the folder that was named, and what is below."""
    base = os.path.basename(os.path.abspath(root)) or "root"
    return text_of(f"{base}/{folder}" if folder else base)


def picture_path(root: Path, key: str) -> Path:
    """Where the picture of a key lies."""
    path = root / key
    if path.exists() or "\\x" not in key:
        return path
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda one: bytes.fromhex(one[1].decode()), key.encode())
    return root / os.fsdecode(raw)


def _scan(folder: Path) -> tuple[list[Picture], list[str]]:
    """The pictures in a folder, and its folders."""
    try:
        with os.scandir(folder) as entries:
            by_name = {one.name: one.is_dir() for one in entries if is_visible(one.name)}
    except OSError as error:
        raise ShardError(f"the folder {folder} cannot be read: {error.strerror}") from error
    names = sorted(by_name, key=natural_key)
    beside: dict[str, dict[str, str]] = {}
    pictures = []
    for name in names:
        stem, suffix = os.path.splitext(name)
        if not by_name[name] and suffix.lower() in _BESIDE:
            beside.setdefault(stem, {}).setdefault(suffix.lower()[1:], name)
        elif not by_name[name] and suffix.lower() in PICTURE_SUFFIXES:
            pictures.append(name)
    own = [Picture(name, beside.get(os.path.splitext(name)[0], {})) for name in pictures]
    return own, [name for name in names if by_name[name]]


def _overlap(one: str, other: str) -> bool:
    return os.path.commonpath([one, other]) in (one, other)


def _names(run: Iterable[Picture]) -> Iterator[str]:
    """The files of a run: each picture, then what stands beside it."""
    for picture in run:
        yield picture.name
        yield from picture.beside.values()


def _run_of(root: Path, folder: str, run: list[Picture], glimpses: Iterator[Glimpse]) -> FolderRun:
    """One run, with what is known of its files, which is taken from `glimpses`."""
    seen = [(name, next(glimpses)) for name in _names(run)]
    name = shard_name(root, folder)
    return FolderRun(
        path=root,
        folder=folder,
        pictures=tuple(run),
        size=sum(glimpse[0] for _, glimpse in seen if glimpse is not None),
        identity=digest_json({"folder": name, "files": seen}),
    )


def text_of(name: str) -> str:
    """A name as UTF-8 can hold it: bytes that are no text look like \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
