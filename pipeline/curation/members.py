"""Samples as members of a tar: copied with their headers, or made of files and table rows."""

import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ...stages.contract import Source
from ...stages.sources.image_formats import is_image_suffix
from ...stages.sources.images.files import read_image_file
from ...stages.sources.images.folders import FolderChunk
from ...stages.sources.images.pixels import UndecodableImage, suffix_of
from ...stages.sources.tables.files import TableFile
from ...stages.sources.tar.listing import BLOCK, split_name
from ...stages.sources.tar.writer import key_of
from ...store import CppPipeError, MissingError

_HEADER_ERRORS = (tarfile.TarError, ValueError, IndexError, OverflowError, EOFError)
"""Errors of the standard library's reader if a shard is cut, after its last good sample."""


@dataclass(frozen=True, kw_only=True)
class ChosenRow:
    """A row of the embeddings whose sample is copied."""

    number: int
    """Its number over all parts."""
    key: str
    offset: int | None
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample as it is written into a tar."""

    row: ChosenRow
    key: str
    """The key in the new shard."""
    blocks: bytes
    """Headers and contents of its members, each padded to whole blocks."""
    offset: int
    """The byte at which the image begins in the blocks."""
    size: int
    """Bytes of the image."""


@dataclass
class Copier:
    """Copies samples of sources. Keys that it makes are unique over all sources."""

    scratch: Path
    """A folder for fetched files."""
    links: int = 0
    """Members that were links; they are not copied, as their targets may be missing."""
    _taken: set[str] = field(default_factory=set)

    def copy(self, source: Source, rows: Sequence[ChosenRow]) -> Iterator[Sample]:
        """The samples of some rows of a source. MissingError if one is no longer there."""
        try:
            yield from self._copy(source, rows)
        except CppPipeError:
            raise
        except (OSError, EOFError, UndecodableImage) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise MissingError(f"{source.path} cannot be read: {reason}") from error

    def _copy(self, source: Source, rows: Sequence[ChosenRow]) -> Iterator[Sample]:
        if isinstance(source, FolderChunk):
            yield from self._copy_folder(source, rows)
        elif isinstance(source, TableFile):
            yield from self._copy_table(source, rows)
        else:
            with _open(source) as file:
                yield from self._copy_tar(source, file, rows)

    def _copy_tar(
        self, source: Source, file: BinaryIO, rows: Sequence[ChosenRow]
    ) -> Iterator[Sample]:
        """Members with their own headers, in the order of the shard."""
        row_of = {row.key: row for row in rows}
        members: dict[str, dict[str, tarfile.TarInfo]] = {key: {} for key in row_of}
        for header in _headers(file):
            split = split_name(header.name)
            if split is None or split[0] not in row_of or header.isdir():
                continue
            key, suffix = split
            if header.isreg() and not header.issparse():
                # The first of equal names counts, as when the sample was embedded.
                members[key].setdefault(suffix, header)
            else:
                self.links += 1
        for key, row in row_of.items():
            pieces: list[bytes] = []
            offset, length = None, 0
            for suffix, header in sorted(members[key].items(), key=lambda member: member[1].offset):
                is_there = (header.offset_data, header.size) == (row.offset, row.size)
                if is_there and is_image_suffix(suffix):
                    offset = length + header.offset_data - header.offset
                pieces.append(_read_member(file, header))
                length += len(pieces[-1])
            if offset is None:
                raise MissingError(
                    f"{source.path} has no {key} where it was embedded from, as it was changed "
                    "since: embed it again"
                )
            assert row.size is not None
            blocks = b"".join(pieces)
            yield Sample(row=row, key=key, blocks=blocks, offset=offset, size=row.size)

    def _copy_folder(self, source: FolderChunk, rows: Sequence[ChosenRow]) -> Iterator[Sample]:
        """Images and the text files next to them, byte for byte, under the keys of `pack`."""
        row_of = {row.key: row for row in rows}
        folder = source.path / source.folder
        with source.open(self.scratch) as opened:
            for entry, file in zip(opened.samples, source.images, strict=True):
                if entry.key not in row_of:
                    continue
                row = row_of[entry.key]
                stem, suffix = os.path.splitext(entry.key)
                content = entry.read_image()
                suffix = suffix.lower()[1:] or suffix_of(content)
                others = {name: read_image_file(folder / path) for name, path in file.texts.items()}
                if row.size is not None and len(content) != row.size:
                    raise MissingError(
                        f"{folder / file.name} was changed since it was embedded: embed it again"
                    )
                yield self.make(row, key_of(stem), suffix, content, others)

    def _copy_table(self, source: TableFile, rows: Sequence[ChosenRow]) -> Iterator[Sample]:
        """Images of rows, with their other columns as .txt, .cls and .json."""
        row_of = {row.key: row for row in rows}
        with source.open(self.scratch) as opened:
            for entry in opened.samples:
                if entry.key not in row_of:
                    continue
                fields = entry.fields()
                texts = {"txt": fields.caption, "cls": fields.label}
                extra = json.loads(fields.extra)
                extra |= {} if fields.url is None else {"url": fields.url}
                texts["json"] = json.dumps(extra, ensure_ascii=False) if extra else None
                others = {name: text.encode() for name, text in texts.items() if text is not None}
                content = entry.read_image()
                suffix = suffix_of(content)
                yield self.make(row_of[entry.key], key_of(entry.key), suffix, content, others)

    def make(
        self, row: ChosenRow, key: str, suffix: str, content: bytes, others: Mapping[str, bytes]
    ) -> Sample:
        """A sample with new headers, which hold no times and no users.

        A number is added to a key that was taken before.
        """
        first, number = key, 1
        while key in self._taken:
            number += 1
            key = f"{first}-{number}"
        self._taken.add(key)
        blocks = b"".join(_member(f"{key}.{name}", text) for name, text in others.items())
        image = _member(f"{key}.{suffix}", content)
        offset = len(blocks) + len(image) - _padded(len(content))
        return Sample(row=row, key=key, blocks=blocks + image, offset=offset, size=len(content))


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
    """Headers and content of a member, padded if the shard ends within the padding."""
    file.seek(header.offset)
    size = header.offset_data + _padded(header.size) - header.offset
    blocks = file.read(size)
    if header.offset + len(blocks) < header.offset_data + header.size:
        raise EOFError(f"it ends inside {header.name}")
    return blocks.ljust(size, b"\0")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    header.mode = 0o444
    padding = bytes(_padded(len(content)) - len(content))
    return header.tobuf(tarfile.PAX_FORMAT) + content + padding
