"""A tar shard as a list of samples, each member of a sample by its place in the file.

Members are grouped by key over the whole shard, as webdataset's key rule has it: the key is what
stands before the first dot of the base name, folders included; the rest, in lower case, is the
suffix. webdataset joins neighbours only, so it returns halves where writers were interleaved, and
its handlers return the front of a cut shard as a success; here every key is either a sample or a
fault, and a shard that is not whole says so.
"""

import os
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from ....store.errors import ShardError
from ..faults import Fault, FaultReason

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
"""Suffixes of a sample's image; the first that a sample has is its image.

Plain ones only: `a.seg.png` belongs to sample `a` under the suffix `seg.png`, and is not its image.
"""

BLOCK = 512
_FOREIGN = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_NOT_TARS = ((b"PK\x03\x04", "a zip or an .npz"), (b"PAR1", "Parquet"), (b"\x93NUMPY", ".npy"))

# What the standard library's reader lets out on damaged headers, found by reading and by fuzzing.
_HEADER_ERRORS = (
    tarfile.TarError,
    ValueError,
    IndexError,
    OverflowError,
    EOFError,
    MemoryError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Span:
    """Where the bytes of one member lie in the shard."""

    offset: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleEntry:
    """One sample: its key, unique in the shard, and its members by suffix."""

    key: str
    members: Mapping[str, Span]
    image_suffix: str

    @property
    def image(self) -> Span:
        """Where the bytes of the image lie."""
        return self.members[self.image_suffix]


@dataclass(frozen=True, kw_only=True)
class ShardListing:
    """All that the headers of a shard tell."""

    samples: tuple[SampleEntry, ...]
    """In the order in which their first members stand."""
    faults: tuple[Fault, ...]
    complete: bool
    """Whether the shard was read to its end mark, and nothing but zeros follows."""
    cut_at: int | None = None
    """The byte at which reading ended early."""
    why_cut: str | None = None
    suffixes: Counter[str] = field(default_factory=Counter)
    """How many members have each suffix; "" counts those without a dot."""

    @property
    def seen(self) -> int:
        """How many samples the headers tell of, good or not."""
        return len(self.samples) + len(self.faults)


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    span: Span
    kind: Literal["file", "sparse", "link_or_device", "cut"]


def scan(path: Path) -> ShardListing:
    """Lists the samples of an uncompressed tar; reads its headers only.

    A shard that is cut, damaged half-way or empty gives what could be listed, with `complete`
    false. ShardError where the file is no tar at all, or a compressed one.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            members, cut_at, why_cut = _read_headers(path, file, size)
    except OSError as error:
        raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error
    return _group(members, cut_at, why_cut)


def split_name(name: str) -> tuple[str, str] | None:
    """The key and the suffix in a member's name, or None where it has none or is no one's data.

    A leading `./` is dropped. Hidden files, macOS's `._` files and `__MACOSX`, and webdataset's
    own `__name__` folders belong to no sample.
    """
    while name.startswith("./"):
        name = name[2:]
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    top = folder.partition("/")[0]
    is_meta = "__MACOSX" in folder.split("/") or (
        len(top) >= 4 and top.startswith("__") and top.endswith("__")
    )
    if not stem or not dot or is_meta:
        return None
    return folder + slash + stem, suffix.lower()


def _read_headers(
    path: Path, file: BinaryIO, size: int
) -> tuple[list[_Member], int | None, str | None]:
    """The members up to where reading ends, and, if that is not the end mark, where and why."""
    if size == 0:
        return [], 0, "the file is empty"
    _require_tar(path, file.read(BLOCK))
    file.seek(0)
    members: list[_Member] = []
    position = 0
    try:
        # Names that are no UTF-8 keep their bytes as text like \xff, so that keys stay distinct.
        with tarfile.open(
            fileobj=file, mode="r:", encoding="utf-8", errors="backslashreplace"
        ) as tar:
            while (header := tar.next()) is not None:
                # Damaged sizes may be negative, and would have the reader go back for ever
                # (CVE-2025-8194; 3.14 and the last releases of older Pythons refuse them).
                if header.size < 0 or tar.offset <= position:
                    return members, position, f"the header at byte {position} is damaged"
                position = tar.offset
                member = _member_of(header, size)
                if member is not None:
                    members.append(member)
                if member is not None and member.kind == "cut":
                    return members, size, f"the file ends inside {header.name}"
            position = tar.offset
    except _HEADER_ERRORS:
        if position >= size:
            return members, size, "the file ends without an end mark"
        return members, position, f"the header at byte {position} is cut or damaged"
    return members, *_read_end(file, position, size)


def _require_tar(path: Path, first: bytes) -> None:
    """ShardError unless the first block is a header, an end mark or a header cut short."""
    if len(first) == BLOCK and not first.strip(b"\0"):
        return
    try:
        tarfile.TarInfo.frombuf(first, "utf-8", "backslashreplace")
        return
    except _HEADER_ERRORS:
        if len(first) < BLOCK and first[257:262] == b"ustar":
            return
    for magic, name in _FOREIGN:
        if first.startswith(magic):
            raise ShardError(
                f"the shard {path} is compressed with {name}: decompress it first, as samples are "
                "read by their place in the file"
            )
    for magic, name in _NOT_TARS:
        if first.startswith(magic):
            raise ShardError(f"the shard {path} is not a tar but {name}")
    raise ShardError(f"the shard {path} is not a tar: it starts with {first[:16]!r}")


def _member_of(header: tarfile.TarInfo, size: int) -> _Member | None:
    """One member of the shard; None for folders."""
    span = Span(header.offset_data, header.size)
    if header.isdir():
        return None
    if header.issparse():
        return _Member(header.name, span, "sparse")
    if not header.isreg():
        return _Member(header.name, span, "link_or_device")
    return _Member(header.name, span, "cut" if span.offset + span.size > size else "file")


def _read_end(file: BinaryIO, position: int, size: int) -> tuple[int | None, str | None]:
    """Whether an end mark stands at `position` and only zeros follow; else where and why not."""
    file.seek(min(position, size))
    mark = file.read(BLOCK)
    if len(mark) < BLOCK:
        return size, "the file ends without an end mark"
    if mark.strip(b"\0"):
        return position, f"the header at byte {position} is damaged"
    while chunk := file.read(1 << 20):
        if chunk.strip(b"\0"):
            return position, (
                f"more follows the end mark at byte {position}: tars that were joined must be "
                "written as one"
            )
    return None, None


@dataclass(slots=True)
class _Draft:
    """What is known of one key so far."""

    offset: int
    members: dict[str, Span] = field(default_factory=dict)
    fault: tuple[int, FaultReason, str] | None = None
    links: list[str] = field(default_factory=list)
    """Suffixes of images that are links or devices."""


def _group(members: list[_Member], cut_at: int | None, why_cut: str | None) -> ShardListing:
    """Members by key: every key becomes one sample or one fault, every repetition one fault."""
    drafts: dict[str, _Draft] = {}
    repetitions: dict[tuple[str, int], list[tuple[int, str]]] = {}
    times_seen: Counter[tuple[str, str]] = Counter()
    suffixes: Counter[str] = Counter()
    faults: list[Fault] = []
    last_key = None
    for member in members:
        split = split_name(member.name)
        if split is None:
            if "." not in member.name.rpartition("/")[2]:
                suffixes[""] += 1
            faults += _fault_of_keyless(member)
            continue
        key, suffix = split
        suffixes[suffix] += 1
        if member.kind == "link_or_device" and suffix not in IMAGE_SUFFIXES:
            continue
        last_key = key
        offset = member.span.offset
        draft = drafts.setdefault(key, _Draft(offset))
        if member.kind == "link_or_device":
            draft.links.append(suffix)
            continue
        times_seen[split] += 1
        if times_seen[split] > 1:
            repetitions.setdefault((key, times_seen[split]), []).append((offset, suffix))
        elif member.kind == "file":
            draft.members[suffix] = member.span
        elif member.kind == "sparse":
            draft.fault = offset, "sparse", f"the {suffix} is a sparse member"
        else:
            draft.fault = offset, "truncated", f"the {suffix} is cut: {why_cut}"
    samples: list[SampleEntry] = []
    for key, draft in drafts.items():
        image = next((suffix for suffix in IMAGE_SUFFIXES if suffix in draft.members), None)
        if draft.fault is None and image is not None:
            samples.append(SampleEntry(key=key, members=draft.members, image_suffix=image))
        else:
            offset, reason, detail = draft.fault or _why_no_image(
                draft, why_cut if key == last_key else None
            )
            faults.append(Fault(key=key, offset=offset, reason=reason, detail=detail))
    for (key, _), again in repetitions.items():
        detail = "again: " + ", ".join(suffix for _, suffix in again)
        faults.append(Fault(key=key, offset=again[0][0], reason="duplicate_key", detail=detail))
    return ShardListing(
        samples=tuple(samples),
        faults=tuple(sorted(faults, key=lambda fault: (fault.offset, fault.key))),
        complete=why_cut is None,
        cut_at=cut_at,
        why_cut=why_cut,
        suffixes=suffixes,
    )


def _fault_of_keyless(member: _Member) -> list[Fault]:
    """A fault for an image whose name holds no key, such as `.jpg`; macOS's copies are none."""
    folder, _, base = member.name.rpartition("/")
    is_image = base.rpartition(".")[2].lower() in IMAGE_SUFFIXES and "." in base
    if not is_image or base.startswith("._") or split_name(f"{folder}/x.jpg") is None:
        return []
    return [
        Fault(
            key=member.name,
            offset=member.span.offset,
            reason="no_key",
            detail="nothing stands before the first dot of its name",
        )
    ]


def _why_no_image(draft: _Draft, why_cut: str | None) -> tuple[int, FaultReason, str]:
    """Why a key without an image has none; `why_cut` where the shard ends right behind it."""
    if draft.links:
        return draft.offset, "not_a_file", f"the {draft.links[0]} is a link or a device"
    seen = ", ".join(sorted(draft.members))
    if why_cut is not None:
        return draft.offset, "truncated", f"only {seen} stand before the cut: {why_cut}"
    return draft.offset, "no_image", f"suffixes seen: {seen}"
