"""Folders of images as sources of samples: searched recursively, split into stable chunks."""

import contextlib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ....store.digest import digest_json
from ....store.paths import absolute
from ..faults import Fault
from ..fields import MAX_TEXT_BYTES, SampleFields, read_fields
from ..shards import part_name, require_unchanged, stamp_of
from .files import (
    EDGE_BYTES,
    Fingerprint,
    ImageFile,
    fingerprint_files,
    no_longer_readable,
    read_text_file,
)
from .pixels import UndecodableImage
from .tree import FolderImage, find_images

MAX_IMAGES = 1000
"""Images in a chunk: a shard's worth, so that a change costs little and files stay few."""
_MEAN_IMAGES = 1024
"""One name in this many ends a chunk, independently of the names around it."""


@dataclass(frozen=True, kw_only=True)
class FolderChunk:
    """Consecutive images of one folder; they become one part."""

    path: Path
    """The folder that the user named."""
    folder: str
    """The images' folder relative to `path`, with forward slashes; empty if it is `path`."""
    images: tuple[FolderImage, ...]
    size: int
    identity: str
    """Digest, in hex, of names, sizes and edges; it does not contain the folder's location."""
    edges: str = field(default="", compare=False)
    """The identity without any content: see `with_content`."""
    unread: frozenset[str] = field(default=frozenset(), compare=False)
    """Names of files that could not be read when listed; part of the identity."""
    long_texts: frozenset[str] = field(default=frozenset(), compare=False)
    """Names of texts that are read although the identity lacks the bytes between their edges."""
    stamp: str = field(default="", compare=False)
    """See `Source.stamp`."""

    @property
    def name(self) -> str:
        """The value of the column `shard`: the folder's name, without the path to it."""
        return shard_name(self.path, self.folder)

    @property
    def part_name(self) -> str:
        """The name of the part; safe in any file system."""
        return part_name(self.name, self.identity)

    def count_samples(self) -> int:
        """The number of its images."""
        return len(self.images)

    def with_content(self, content: str) -> "FolderChunk":
        """The same chunk with its content in its identity."""
        return replace(self, identity=digest_json({"edges": self.identity, "content": content}))

    @contextlib.contextmanager
    def open(self, scratch: Path) -> Iterator["FolderSamples"]:
        """Opens its images, each read on request.

        A file that could not be read when it was listed may be a fault; any other that cannot be
        read now is a ShardError. So is one that was changed since then, if all images were read: it
        makes another chunk, which the next search of the folder finds.
        """
        folder, inside = self.path / self.folder, PurePosixPath(self.folder)
        name = utf8_name(PurePosixPath(self.name).name)
        samples = tuple(
            FolderEntry(utf8_name(str(inside / image.name)), folder, image, name, self)
            for image in self.images
        )
        yield FolderSamples(samples)
        require_unchanged(folder, self._is_unchanged(samples))

    def _is_unchanged(self, samples: "tuple[FolderEntry, ...]") -> bool:
        """Whether all that was read is what was listed; True if some images were not read."""
        read = {sample.name: sample.file.fingerprint for sample in samples}
        if any(found is None and name not in self.unread for name, found in read.items()):
            return True
        texts = [name for image in self.images for name in image.texts.values()]
        paths = (os.path.join(self.path, self.folder, name) for name in texts)
        read |= dict(zip(texts, (found for found, _ in fingerprint_files(paths)), strict=True))
        read |= dict.fromkeys(self.unread)
        files = [(name, read[name]) for name in _names(self.images)]
        return _identify(self.name, files) == self.edges


class FolderEntry:
    """One image of an open chunk."""

    def __init__(
        self,
        key: str,
        folder: Path,
        image: FolderImage,
        folder_name: str,
        chunk: FolderChunk,
    ) -> None:
        self.key = key
        self.name = image.name
        """The name of its file."""
        self.offset = 0
        self.file = ImageFile(folder / image.name, was_readable=image.name not in chunk.unread)
        self._texts = {suffix: folder / name for suffix, name in image.texts.items()}
        self._folder_name = folder_name
        self._chunk = chunk
        self._digests: dict[str, str] = {}

    @property
    def size(self) -> int | None:
        """Bytes of the file; None until it is read."""
        return self.file.size

    def read_image(self) -> bytes:
        """The bytes of the file."""
        return self.file.read()

    def fields(self) -> SampleFields:
        """The fields in its text files, and the name of its folder; ShardError as for images."""
        sizes, texts, known = {}, {}, {"folder": self._folder_name}
        for suffix in self._texts:
            try:
                sizes[suffix], texts[suffix] = self._read_text(suffix)
            except UndecodableImage as error:
                known[f"{suffix}_error"] = error.detail
        return read_fields(sizes, texts.__getitem__, **known)

    def text_digests(self) -> dict[str, str]:
        """The digest of each long text, by suffix; reads those that `fields` has not read."""
        long = [name for name, path in self._texts.items() if path.name in self._chunk.long_texts]
        for suffix in long:
            if suffix not in self._digests:
                self._read_text(suffix)
        return {suffix: self._digests[suffix] for suffix in sorted(long)}

    def _read_text(self, suffix: str) -> tuple[int, bytes]:
        """Size and bytes of a text; keeps the digest of a long one."""
        path = self._texts[suffix]
        try:
            size, content = read_text_file(path)
        except UndecodableImage as error:
            if path.name not in self._chunk.unread:
                raise no_longer_readable(path, error.detail) from error
            raise
        if path.name in self._chunk.long_texts:
            self._digests[suffix] = hashlib.sha256(content).hexdigest()
        return size, content


class FolderSamples:
    """The images of an open chunk."""

    faults: tuple[Fault, ...] = ()
    complete = True
    why_cut: str | None = None

    def __init__(self, samples: tuple[FolderEntry, ...]) -> None:
        self.samples = samples
        self.suffixes = Counter(os.path.splitext(entry.key)[1].lower()[1:] for entry in samples)
        self.facts: Mapping[str, Any] = {"source": "images"}

    def sha256(self) -> str:
        """SHA-256, in hex, of the keys and the digests of all images that were read.

        Also of long texts; the identity includes all bytes of short ones.
        """
        digest = hashlib.sha256()
        for entry in self.samples:
            digest.update(f"{entry.key}\0{entry.file.sha256}\n".encode())
            for suffix, text in entry.text_digests().items():
                digest.update(f"{entry.key}\0{suffix}\0{text}\n".encode())
        return digest.hexdigest()


def find_chunks(root: Path, left_out: Counter[str] | None = None) -> list[FolderChunk]:
    """The images below a folder, in chunks; reads the first and last 4 KiB of each file.

    Adds to `left_out`, by suffix, the files that are no images and belong to none. ConfigError
    if the folder holds another kind of input, ShardError if it holds no image.
    """
    cuts = [
        (folder, chunk)
        for folder, images in find_images(root, left_out)
        for chunk in split_chunks(images)
    ]
    top = os.fspath(root)
    paths = (os.path.join(top, folder, name) for folder, images in cuts for name in _names(images))
    fingerprints = iter(fingerprint_files(paths))
    return [_chunk_of(root, folder, images, fingerprints) for folder, images in cuts]


def split_chunks(images: Iterable[FolderImage]) -> Iterator[list[FolderImage]]:
    """Chunks of at most a thousand images, in order.

    Names decide where a chunk ends, so an inserted image changes its own chunk but no later
    ones.
    """
    chunk: list[FolderImage] = []
    for image in images:
        chunk.append(image)
        digest = hashlib.sha256(os.fsencode(image.name)).digest()
        if len(chunk) == MAX_IMAGES or int.from_bytes(digest[:4]) % _MEAN_IMAGES == 0:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def shard_name(root: Path, folder: str) -> str:
    """The name of a folder of images: the named folder's own name, and the path below it."""
    base = os.path.basename(absolute(str(root)))
    if base == "..":  # after a link: its own name follows from where that leads
        base = os.path.basename(os.path.realpath(root))
    base = base or "root"
    return utf8_name(f"{base}/{folder}" if folder else base)


def image_path(root: Path, key: str) -> Path:
    """The path of the image with a key."""
    path = root / key
    if path.exists() or "\\x" not in key:
        return path
    raw = re.sub(
        rb"\\x([89a-f][0-9a-f])", lambda match: bytes.fromhex(match[1].decode()), key.encode()
    )
    return root / os.fsdecode(raw)


def _names(images: Iterable[FolderImage]) -> Iterator[str]:
    """The files of a chunk: each image, then its text files."""
    for image in images:
        yield image.name
        yield from image.texts.values()


def _chunk_of(
    root: Path,
    folder: str,
    images: list[FolderImage],
    fingerprints: Iterator[tuple[Fingerprint, int]],
) -> FolderChunk:
    """One chunk; takes its files' fingerprints from `fingerprints`."""
    names = list(_names(images))
    texts = {name for image in images for name in image.texts.values()}
    fingerprinted = [next(fingerprints) for _ in names]
    files = [
        (name, fingerprint) for name, (fingerprint, _) in zip(names, fingerprinted, strict=True)
    ]
    edges = _identify(shard_name(root, folder), files)
    return FolderChunk(
        path=root,
        folder=folder,
        images=tuple(images),
        size=sum(fingerprint[0] for _, fingerprint in files if fingerprint is not None),
        identity=edges,
        edges=edges,
        unread=frozenset(name for name, fingerprint in files if fingerprint is None),
        long_texts=frozenset(name for name, text in files if name in texts and _is_long(text)),
        stamp=stamp_of([time_ns for _, time_ns in fingerprinted]),
    )


def _identify(name: str, files: list[tuple[str, Fingerprint]]) -> str:
    """The identity of a folder's chunk, by the names and fingerprints of its files."""
    return digest_json({"folder": name, "files": files})


def _is_long(text: Fingerprint) -> bool:
    """Whether a text is too long for its fingerprint to cover, and short enough to be read."""
    return text is not None and 2 * EDGE_BYTES < text[0] <= MAX_TEXT_BYTES


def utf8_name(name: str) -> str:
    """A file name as UTF-8 text, in which each byte that is not UTF-8 looks like \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
