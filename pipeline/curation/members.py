"""Samples as members of a tar: copied with their headers, or made from files and table rows."""

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
from ...stages.sources.tar.writer import distinct, key_of
from ...store import CppPipeError, MissingError

_HEADER_ERRORS = (tarfile.TarError, ValueError, IndexError, OverflowError, EOFError)
"""What the standard library's reader raises where a shard was cut off."""


@dataclass(frozen=True, kw_only=True)
class ChosenRow:
    """A row of the embeddings whose sample is copied."""

    number: int
    """The row's number over all parts."""
    key: str
    offset: int | None
    """The byte of the shard at which the image begins; None if the source is no tar."""
    size: int | None
    """Bytes of the image."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample in the form in which it is written into a tar."""

    row: ChosenRow
    key: str
    """The key in the new shard."""
    blocks: bytes
    """Headers and contents of its members, each padded to whole blocks."""
    offset: int
    """The byte of `blocks` at which the image begins."""
    size: int
    """Bytes of the image."""


@dataclass
class Copier:
    """Copies samples of sources. The keys that it makes are unique over all sources."""

    scratch: Path
    """A folder for downloads."""
    links: int = 0
    """The number of members that are links. They are not copied: their targets may be missing."""
    _taken_keys: dict[str, int] = field(default_factory=dict)

    def copy(self, source: Source, rows: Sequence[ChosenRow]) -> Iterator[Sample]:
        """The samples of these rows of a source; MissingError if one is gone."""
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
        rows_by_key = {row.key: row for row in rows}
        members: dict[str, dict[str, tarfile.TarInfo]] = {key: {} for key in rows_by_key}
        for header in _headers(file):
            split = split_name(header.name)
            if split is None or split[0] not in rows_by_key or header.isdir():
                continue
            key, suffix = split
            if header.isreg() and not header.issparse():
                # Of members with equal names the first counts, as in `embed`.
                members[key].setdefault(suffix, header)
            else:
                self.links += 1
        for key, row in rows_by_key.items():
            pieces: list[bytes] = []
            offset, length = None, 0
            for suffix, header in sorted(members[key].items(), key=lambda member: member[1].offset):
                is_unmoved = (header.offset_data, header.size) == (row.offset, row.size)
                if is_unmoved and is_image_suffix(suffix):
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
        """Images and the text files next to them, byte for byte, with the keys of `pack`."""
        rows_by_key = {row.key: row for row in rows}
        folder = source.path / source.folder
        with source.open(self.scratch) as opened:
            for entry, file in zip(opened.samples, source.images, strict=True):
                if entry.key not in rows_by_key:
                    continue
                row = rows_by_key[entry.key]
                stem, suffix = os.path.splitext(entry.key)
                content = entry.read_image()
                suffix = suffix.lower()[1:] or suffix_of(content)
                texts = {name: read_image_file(folder / path) for name, path in file.texts.items()}
                if row.size is not None and len(content) != row.size:
                    raise MissingError(
                        f"{folder / file.name} was changed since it was embedded: embed it again"
                    )
                yield self.make(row, key_of(stem), suffix, content, texts)

    def _copy_table(self, source: TableFile, rows: Sequence[ChosenRow]) -> Iterator[Sample]:
        """Images of rows, with their other columns as .txt, .cls and .json."""
        rows_by_key = {row.key: row for row in rows}
        with source.open(self.scratch) as opened:
            for entry in opened.samples:
                if entry.key not in rows_by_key:
                    continue
                row = rows_by_key[entry.key]
                fields = entry.fields()
                columns = {"txt": fields.caption, "cls": fields.label}
                extra = json.loads(fields.extra)
                extra |= {} if fields.url is None else {"url": fields.url}
                columns["json"] = json.dumps(extra, ensure_ascii=False) if extra else None
                texts = {name: text.encode() for name, text in columns.items() if text is not None}
                content = entry.read_image()
                yield self.make(row, key_of(entry.key), suffix_of(content), content, texts)

    def make(
        self, row: ChosenRow, key: str, suffix: str, content: bytes, texts: Mapping[str, bytes]
    ) -> Sample:
        """A sample with new headers, without times and users.

        Adds a number to a key that was used before. `texts` has the other members by suffix.
        """
        key = distinct(key, self._taken_keys)
        blocks = b"".join(_member(f"{key}.{name}", text) for name, text in texts.items())
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
    """The headers of a tar until the first that cannot be read; names as in `tar.listing`."""
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
    """Headers and content of a member; completes the padding if the shard ends inside it."""
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
