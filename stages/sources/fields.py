"""What a sample says of itself beside its image: caption, label, url, and all other fields."""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...store.errors import ShardError
from .tar.listing import IMAGE_SUFFIXES, SampleEntry, Span

MOST_TEXT_BYTES = 1 << 20
"""A caption, label, url or JSON member above this is no text about one image; it is not read."""
MOST_OTHER_BYTES = 4096
"""Members under other suffixes are kept in `extra` up to this size, if they are text."""
TEXT_SUFFIXES = ("txt", "cls", "url", "json")
"""Suffixes of the texts that fill the columns."""
_CHUNK = 1 << 20


class ShardBytes:
    """The bytes of an open shard; safe to read from several threads at once.

    Reads copy, as a mapped file that another process shortens would end ours by a signal.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle
        self.size = os.fstat(handle).st_size

    def read(self, span: Span) -> bytes:
        """The bytes at `span`; ShardError where the file has no longer so many."""
        pieces: list[bytes] = []
        start, end = span.offset, span.offset + span.size
        while start < end:
            piece = os.pread(self._handle, end - start, start)
            if not piece:
                raise ShardError(
                    f"the shard {self._path} has no byte {start}, which its headers promise: it "
                    "was changed while it was read"
                )
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def sha256(self) -> str:
        """SHA-256, in hex, of the whole shard; reads all of it."""
        digest = hashlib.sha256()
        start = 0
        while chunk := os.pread(self._handle, _CHUNK, start):
            digest.update(chunk)
            start += len(chunk)
        return digest.hexdigest()


@contextlib.contextmanager
def open_shard(path: Path) -> Iterator[ShardBytes]:
    """The bytes of the shard at `path`, as long as the block lasts."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ShardError(f"the shard {path} cannot be read: {error.strerror}") from error
    try:
        yield ShardBytes(path, handle)
    finally:
        os.close(handle)


@dataclass(frozen=True, kw_only=True)
class SampleFields:
    """The fields of one sample; None where it has none, or only blanks."""

    caption: str | None
    label: str | None
    url: str | None
    extra: str
    """A JSON object of every field that is in none of the columns, under its own name."""


def fields(entry: SampleEntry, shard: ShardBytes) -> SampleFields:
    """The fields in the text members of a sample."""
    sizes = {suffix: span.size for suffix, span in entry.members.items()}
    return read_fields(sizes, lambda suffix: shard.read(entry.members[suffix]))


def read_fields(
    sizes: Mapping[str, int], read: Callable[[str], bytes], **known: str
) -> SampleFields:
    """The fields of a sample whose texts have these sizes by suffix; `known` enter `extra` too.

    The caption is the `.txt`, else the JSON field `caption` or `text`; the label the `.cls`, else
    the JSON field `label`; the url the JSON field `url`, else the `.url`; JSON names in any case.
    Bytes that are no UTF-8 become U+FFFD, numbers that are not finite null. What cannot be read
    leaves its reason in `extra`, as `json_error` or the like: no caption is worth an image.
    """
    extra: dict[str, Any] = {}
    texts = {
        suffix: _text(suffix, sizes[suffix], read, extra)
        for suffix in TEXT_SUFFIXES
        if suffix in sizes
    }
    values = {**known, **_json_fields(texts.pop("json", None), extra)}
    columns = take_columns(values, texts)
    extra = {**values, **extra}
    for suffix, size in sizes.items():
        if suffix in TEXT_SUFFIXES or suffix in IMAGE_SUFFIXES:
            continue
        if size <= MOST_OTHER_BYTES:
            text = _strict_text(read(suffix))
            if text is not None:
                extra[suffix if suffix not in extra else f".{suffix}"] = text
    return SampleFields(**columns, extra=to_json(extra))


def take_columns(values: dict[str, Any], texts: Mapping[str, str]) -> dict[str, str | None]:
    """Caption, label and url out of texts by suffix and named values, which lose what they say."""
    return {
        "caption": _take(values, ("caption", "text"), texts.get("txt")),
        "label": _take(values, ("label",), texts.get("cls")),
        "url": _take(values, ("url",), None) or texts.get("url") or None,
    }


def to_json(values: Mapping[str, Any]) -> str:
    """A JSON object that every strict reader takes."""
    return clean_text(json.dumps(values, ensure_ascii=False, allow_nan=False))


def clean_text(text: str) -> str:
    """`text` with every half of a surrogate pair, which no UTF-8 file can hold, as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text(suffix: str, size: int, read: Callable[[str], bytes], extra: dict[str, Any]) -> str:
    """A text without blanks around it, or "" and a note why not."""
    if size > MOST_TEXT_BYTES:
        extra[f"{suffix}_error"] = f"{size} bytes, more than {MOST_TEXT_BYTES}"
        return ""
    return read(suffix).decode("utf-8-sig", "replace").strip()


def _strict_text(raw: bytes) -> str | None:
    """The text that `raw` is, or None where it is no text."""
    try:
        return None if b"\0" in raw else raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def _json_fields(text: str | None, extra: dict[str, Any]) -> dict[str, Any]:
    """The fields of a JSON object; what is another value, or no JSON, goes to `extra`."""
    if not text:
        return {}
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        extra["json_error"] = str(error)
        return {}
    if isinstance(value, dict):
        return value
    extra["json"] = value
    return {}


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _take(values: dict[str, Any], names: tuple[str, ...], text: str | None) -> str | None:
    """`text`, or the first field under one of `names`; a field that says the same is taken out."""
    for name in names:
        for field_name in [key for key in values if key.lower() == name]:
            value = values[field_name]
            if isinstance(value, bool) or not isinstance(value, str | int):
                continue
            value = clean_text(str(value)).strip()
            text = text or value
            if text == value:
                del values[field_name]
    return text or None
