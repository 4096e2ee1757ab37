"""A tar shard as a list of samples, each with the positions of its members in the file.

Members are grouped by key over the whole shard. Keys follow webdataset's rule: the key is the path
up to the first dot of the base name, the rest, in lower case, is the suffix. webdataset groups
neighbours only: of interleaved samples it returns halves, and it returns the front of a cut shard
without an error. Here every key becomes either a sample or a fault, and a shard that is not whole
says so.
"""

import os
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from ....store.errors import ShardError, is_limit
from ..faults import Fault, FaultReason
from ..ignored_files import SEEN
from ..image_formats import image_suffixes, is_image_suffix
from ..input_kinds import is_visible

BLOCK = 512
_COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_OTHER_FORMATS = ((b"PK\x03\x04", "a zip or an .npz"), (b"PAR1", "Parquet"), (b"\x93NUMPY", ".npy"))

# What the standard library raises on damaged headers, found by reading its code and by fuzzing.
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
    """The position of one member's bytes in the shard."""

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
        """The position of the image's bytes."""
        return self.members[self.image_suffix]


@dataclass(frozen=True, kw_only=True)
class ShardListing:
    """The samples and faults that the headers of a shard list."""

    samples: tuple[SampleEntry, ...]
    """Samples, in the order of their first members."""
    faults: tuple[Fault, ...]
    complete: bool
    """Whether the shard was read to its end mark, with only zeros after it."""
    cut_at: int | None = None
    """The byte where reading stopped early; None if the shard is complete."""
    why_cut: str | None = None
    suffixes: Counter[str] = field(default_factory=Counter)
    """How many members have each suffix; "" counts those without a dot."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many members, by suffix, belong to no sample and are no files of an operating system, or
    are links or devices beside an image."""

    @property
    def seen(self) -> int:
        """How many samples the headers list, faulty ones included."""
        return len(self.samples) + len(self.faults)


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    span: Span
    kind: Literal["file", "sparse", "link_or_device", "cut"]


def scan(path: Path) -> ShardListing:
    """Lists the samples of an uncompressed tar; reads only its headers.

    A shard that is cut, damaged half-way or empty yields what could be listed, with `complete`
    false. ShardError if the file is not a tar, or is compressed.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            members, cut_at, why_cut = _read_headers(path, file, size)
    except OSError as error:
        if is_limit(error):
            raise
        raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error
    return _group(members, cut_at, why_cut)


def split_name(name: str) -> tuple[str, str] | None:
    """The key and the suffix in a member's name, or None if it belongs to no sample.

    A leading `./` is dropped. Names without a dot, hidden files, macOS's `._` files and `__MACOSX`,
    and webdataset's own `__name__` folders belong to no sample.
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
    """The members and, if reading stops before the end mark, where and why it does."""
    if size == 0:
        return [], 0, "the file is empty"
    _require_tar(path, file.read(BLOCK))
    file.seek(0)
    members: list[_Member] = []
    position = 0
    try:
        # In names, invalid UTF-8 becomes text such as \xff, so that keys stay distinct.
        with tarfile.open(
            fileobj=file, mode="r:", encoding="utf-8", errors="backslashreplace"
        ) as tar:
            while (header := tar.next()) is not None:
                # A damaged size may be negative and would make the reader loop for ever
                # (CVE-2025-8194; Python 3.14 and the last releases of older ones refuse it).
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
    """ShardError unless the first block is a header, an end mark or a truncated header."""
    if len(first) == BLOCK and not first.strip(b"\0"):
        return
    try:
        tarfile.TarInfo.frombuf(first, "utf-8", "backslashreplace")
        return
    except _HEADER_ERRORS:
        if len(first) < BLOCK and first[257:262] == b"ustar":
            return
    for magic, name in _COMPRESSIONS:
        if first.startswith(magic):
            raise ShardError(
                f"the shard {path} is compressed with {name}: decompress it first, because samples "
                "are read by their position in the file"
            )
    for magic, name in _OTHER_FORMATS:
        if first.startswith(magic):
            raise ShardError(f"the shard {path} is not a tar but {name}")
    raise ShardError(f"the shard {path} is not a tar: it starts with {first[:16]!r}")


def _member_of(header: tarfile.TarInfo, size: int) -> _Member | None:
    """The member that a header describes; None for a folder."""
    span = Span(header.offset_data, header.size)
    if header.isdir():
        return None
    if header.issparse():
        return _Member(header.name, span, "sparse")
    if not header.isreg():
        return _Member(header.name, span, "link_or_device")
    return _Member(header.name, span, "cut" if span.offset + span.size > size else "file")


def _read_end(file: BinaryIO, position: int, size: int) -> tuple[int | None, str | None]:
    """(None, None) if the end mark is at `position` with only zeros after it; else where the
    shard breaks off, and why."""
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
class _Candidate:
    """The members and faults of one key so far."""

    offset: int
    members: dict[str, Span] = field(default_factory=dict)
    fault: tuple[int, FaultReason, str] | None = None
    links: list[str] = field(default_factory=list)
    """Suffixes of image members that are links or devices."""


def _group(members: list[_Member], cut_at: int | None, why_cut: str | None) -> ShardListing:
    """Groups members by key: each key becomes a sample or a fault, each repetition a fault."""
    candidates: dict[str, _Candidate] = {}
    repetitions: dict[tuple[str, int], list[tuple[int, str]]] = {}
    times_seen: Counter[tuple[str, str]] = Counter()
    suffixes: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    faults: list[Fault] = []
    last_key = None
    for member in members:
        split = split_name(member.name)
        if split is None:
            if "." not in member.name.rpartition("/")[2]:
                suffixes[""] += 1
                left_out[""] += _is_users(member.name)
            faults += _fault_of_keyless(member)
            continue
        key, suffix = split
        suffixes[suffix] += 1
        if member.kind == "link_or_device" and not is_image_suffix(suffix):
            left_out[suffix] += 1
            continue
        last_key = key
        offset = member.span.offset
        candidate = candidates.setdefault(key, _Candidate(offset))
        if member.kind == "link_or_device":
            candidate.links.append(suffix)
            continue
        times_seen[split] += 1
        if times_seen[split] > 1:
            repetitions.setdefault((key, times_seen[split]), []).append((offset, suffix))
        elif member.kind == "file":
            candidate.members[suffix] = member.span
        elif member.kind == "sparse":
            candidate.fault = offset, "sparse", f"the {suffix} is a sparse member"
        else:
            candidate.fault = offset, "truncated", f"the {suffix} is cut: {why_cut}"
    samples: list[SampleEntry] = []
    for key, candidate in candidates.items():
        image = next((suffix for suffix in image_suffixes() if suffix in candidate.members), None)
        if candidate.fault is None and image is not None:
            samples.append(SampleEntry(key=key, members=candidate.members, image_suffix=image))
        else:
            offset, reason, detail = candidate.fault or _why_no_image(
                candidate, why_cut if key == last_key else None
            )
            faults.append(Fault(key=key, offset=offset, reason=reason, detail=detail))
    for (key, _), repeated in repetitions.items():
        detail = "again: " + ", ".join(suffix for _, suffix in repeated)
        offset = repeated[0][0]
        faults.append(Fault(key=key, offset=offset, reason="duplicate_key", detail=detail))
    return ShardListing(
        samples=tuple(samples),
        faults=tuple(sorted(faults, key=lambda fault: (fault.offset, fault.key))),
        complete=why_cut is None,
        cut_at=cut_at,
        why_cut=why_cut,
        suffixes=suffixes,
        left_out=+left_out,
    )


def _is_users(name: str) -> bool:
    """Whether a member without a dot in its name is a user's file."""
    folder, slash, base = name.rpartition("/")
    is_in_meta = split_name(f"{folder}{slash}x.jpg") is None
    return is_visible(base) and base != "" and not is_in_meta


def _fault_of_keyless(member: _Member) -> list[Fault]:
    """A fault for an image without a key, such as `.jpg`; none for macOS's `._` copies."""
    folder, _, base = member.name.rpartition("/")
    is_image = "." in base and is_image_suffix(base.rpartition(".")[2])
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


def _why_no_image(candidate: _Candidate, why_cut: str | None) -> tuple[int, FaultReason, str]:
    """Why a key has no image; `why_cut` is given if the shard ends right after the key."""
    if candidate.links:
        return candidate.offset, "not_a_file", f"the {candidate.links[0]} is a link or a device"
    seen = ", ".join(sorted(candidate.members))
    if why_cut is not None:
        return candidate.offset, "truncated", f"only {seen} stand before the cut: {why_cut}"
    return candidate.offset, "no_image", f"{SEEN}{seen}"
