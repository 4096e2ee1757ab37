"""Chosen samples as bytes of a tar: copied with their headers, or made of files and table rows."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ...stages.contract import Source
from ...stages.sources.images.files import read_image_file
from ...stages.sources.images.folders import FolderChunk
from ...stages.sources.images.pixels import FORMATS, IMAGE_SUFFIXES, UndecodableImage
from ...stages.sources.tables.files import TableFile
from ...stages.sources.tar.listing import BLOCK, split_name
from ...stages.sources.tar.writer import key_of
from ...store import CppPipeError, MissingError

_HEADER_ERRORS = (tarfile.TarError, ValueError, IndexError, OverflowError, EOFError)
"""What the standard library's reader lets out where a shard is cut, behind its last good sample."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row that was chosen."""

    number: int
    """Over all parts of the embeddings."""
    key: str
    offset: int | None
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample as it will stand in a tar."""

    row: Row
    key: str
    """In the new shard."""
    blocks: bytes
    """Headers and contents of all its members, each padded to whole blocks."""
    offset: int
    """Where in the blocks the bytes of the picture begin."""
    size: int
    """How many bytes the picture has."""


@dataclass
class Copier:
    """Reads chosen samples of sources; keys that it makes are unique over all of them."""

    scratch: Path
    """A folder for what is fetched."""
    links: int = 0
    """Members that are links, which say nothing without what they point to: not copied."""
    _taken: set[str] = field(default_factory=set)

    def copy(self, source: Source, rows: Sequence[Row]) -> Iterator[Sample]:
        """The samples of some rows of a source. MissingError where one is no longer there."""
        try:
            yield from self._copy(source, rows)
        except CppPipeError:
            raise
        except (OSError, EOFError, UndecodableImage) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise MissingError(f"{source.path} cannot be read: {why}") from error

    def _copy(self, source: Source, rows: Sequence[Row]) -> Iterator[Sample]:
        if isinstance(source, FolderChunk):
            yield from self._of_folder(source, rows)
        elif isinstance(source, TableFile):
            yield from self._of_table(source, rows)
        else:
            with _open(source) as file:
                yield from self._of_tar(source, file, rows)

    def _of_tar(self, source: Source, file: BinaryIO, rows: Sequence[Row]) -> Iterator[Sample]:
        """Members with their own headers, in the order in which they stand."""
        wanted = {row.key: row for row in rows}
        members: dict[str, dict[str, tarfile.TarInfo]] = {key: {} for key in wanted}
        for header in _headers(file):
            split = split_name(header.name)
            if split is None or split[0] not in wanted or header.isdir():
                continue
            key, suffix = split
            if header.isreg() and not header.issparse():
                # As where it was embedded: what is there again is no part of the sample.
                members[key].setdefault(suffix, header)
            else:
                self.links += 1
        for key, row in wanted.items():
            pieces: list[bytes] = []
            offset, length = None, 0
            for suffix, header in sorted(members[key].items(), key=lambda one: one[1].offset):
                is_there = (header.offset_data, header.size) == (row.offset, row.size)
                if is_there and suffix in IMAGE_SUFFIXES:
                    offset = length + header.offset_data - header.offset
                pieces.append(_read_member(file, header))
                length += len(pieces[-1])
            if offset is None:
                raise MissingError(
                    f"{source.path} has no {key} where it was embedded from: it was changed since; "
                    "embed it again"
                )
            assert row.size is not None
            blocks = b"".join(pieces)
            yield Sample(row=row, key=key, blocks=blocks, offset=offset, size=row.size)

    def _of_folder(self, source: FolderChunk, rows: Sequence[Row]) -> Iterator[Sample]:
        """Pictures with the texts beside them, byte for byte, under the keys of `pack`."""
        wanted = {row.key: row for row in rows}
        folder = source.path / source.folder
        with source.open(self.scratch) as opened:
            for entry, picture in zip(opened.samples, source.images, strict=True):
                if entry.key not in wanted:
                    continue
                row = wanted[entry.key]
                stem, _, suffix = entry.key.rpartition(".")
                content = entry.read_image()
                beside = {one: read_image_file(folder / at) for one, at in picture.texts.items()}
                if row.size is not None and len(content) != row.size:
                    raise MissingError(f"{folder / picture.name} was changed: embed it again")
                yield self._made(row, key_of(stem), suffix.lower(), content, beside)

    def _of_table(self, source: TableFile, rows: Sequence[Row]) -> Iterator[Sample]:
        """Pictures of rows, and what other columns say as .txt, .cls and .json."""
        wanted = {row.key: row for row in rows}
        with source.open(self.scratch) as opened:
            for entry in opened.samples:
                if entry.key not in wanted:
                    continue
                told = entry.fields()
                texts = {"txt": told.caption, "cls": told.label}
                extra = json.loads(told.extra)
                extra |= {} if told.url is None else {"url": told.url}
                texts["json"] = json.dumps(extra, ensure_ascii=False) if extra else None
                beside = {name: one.encode() for name, one in texts.items() if one is not None}
                content = entry.read_image()
                suffix = suffix_of(content)
                yield self._made(wanted[entry.key], key_of(entry.key), suffix, content, beside)

    def _made(
        self, row: Row, key: str, suffix: str, content: bytes, beside: dict[str, bytes]
    ) -> Sample:
        """A sample with headers of our own, in which nothing of clocks or users stands."""
        first, number = key, 1
        while key in self._taken:
            number += 1
            key = f"{first}-{number}"
        self._taken.add(key)
        blocks = b"".join(_member(f"{key}.{name}", one) for name, one in beside.items())
        picture = _member(f"{key}.{suffix}", content)
        offset = len(blocks) + len(picture) - _padded(len(content))
        return Sample(row=row, key=key, blocks=blocks + picture, offset=offset, size=len(content))


def _open(source: Source) -> Any:
    """The file of a tar shard, on this machine or elsewhere."""
    if isinstance(source.path, Path):
        return source.path.open("rb")
    import fsspec

    return fsspec.open(str(source.path), "rb")


def _headers(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar, as far as they can be read; names as in `tar.listing`."""
    position = -1
    try:
        with tarfile.open(
            fileobj=file, mode="r:", encoding="utf-8", errors="backslashreplace"
        ) as tar:
            while (header := tar.next()) is not None and header.size >= 0:
                if tar.offset <= position:
                    return
                position = tar.offset
                yield header
    except _HEADER_ERRORS:
        return


def _read_member(file: BinaryIO, header: tarfile.TarInfo) -> bytes:
    """Headers and content of a member, padded where the shard ends before the padding does."""
    file.seek(header.offset)
    whole = header.offset_data + _padded(header.size) - header.offset
    found = file.read(whole)
    if header.offset + len(found) < header.offset_data + header.size:
        raise EOFError(f"it ends inside {header.name}")
    return found.ljust(whole, b"\0")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    header.mode = 0o444
    padding = bytes(_padded(len(content)) - len(content))
    return header.tobuf(tarfile.PAX_FORMAT) + content + padding


def suffix_of(content: bytes) -> str:
    """What a picture's file is named by, told from its bytes."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        name = (picture.format or "").lower()
    return {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif"}.get(name, name)
