"""The fields of a sample: caption, label, url, and all others as JSON."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .image_formats import is_image_suffix

MAX_TEXT_BYTES = 1 << 20
"""A longer caption, label, url or JSON is not read: it does not describe a single image."""
MAX_OTHER_BYTES = 4096
"""Members with other suffixes are kept in `extra` up to this size, if they are text."""
TEXT_SUFFIXES = ("txt", "cls", "url", "json")
"""Suffixes of the texts that fill the columns."""


@dataclass(frozen=True, kw_only=True)
class SampleFields:
    """The fields of one sample; None if one is absent or blank."""

    caption: str | None
    label: str | None
    url: str | None
    extra: str
    """A JSON object of all other fields, under their own names."""


def read_fields(
    sizes: Mapping[str, int], read: Callable[[str], bytes], **known: str
) -> SampleFields:
    """Reads the fields from texts whose sizes are given by suffix; `known` is added to `extra`.

    The caption is the `.txt`, else the JSON field `caption` or `text`; the label is the `.cls`,
    else the JSON field `label`; the url is the JSON field `url`, else the `.url`. JSON names match
    in any case. Invalid UTF-8 becomes U+FFFD, numbers that are not finite become null. A text that
    cannot be read leaves its reason in `extra`, e.g. as `json_error`; its image is kept.
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
        if suffix in TEXT_SUFFIXES or is_image_suffix(suffix):
            continue
        if size <= MAX_OTHER_BYTES:
            text = _strict_text(read(suffix))
            if text is not None:
                extra[suffix if suffix not in extra else f".{suffix}"] = text
    return SampleFields(**columns, extra=to_json(extra))


def take_columns(values: dict[str, Any], texts: Mapping[str, str]) -> dict[str, str | None]:
    """Caption, label and url from texts by suffix and from named values.

    Removes values that a column now holds.
    """
    return {
        "caption": _take(values, ("caption", "text"), texts.get("txt")),
        "label": _take(values, ("label",), texts.get("cls")),
        "url": _take(values, ("url",), None) or texts.get("url") or None,
    }


def to_json(values: Mapping[str, Any]) -> str:
    """A JSON object that every strict reader accepts."""
    return clean_text(json.dumps(values, ensure_ascii=False, allow_nan=False))


def clean_text(text: str) -> str:
    """`text` with each lone surrogate, which UTF-8 cannot encode, replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def plain_value(value: Any) -> Any:
    """A value that JSON can hold: a number that is not finite becomes null, other types text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): plain_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def whole_number(value: Any) -> Any:
    """A float as an integer if it is one: pandas turns integers with gaps into floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(suffix: str, size: int, read: Callable[[str], bytes], extra: dict[str, Any]) -> str:
    """A text without surrounding whitespace; "" and a note in `extra` if it is too long."""
    if size > MAX_TEXT_BYTES:
        extra[f"{suffix}_error"] = f"{size} bytes, more than {MAX_TEXT_BYTES}"
        return ""
    return read(suffix).decode("utf-8-sig", "replace").strip()


def _strict_text(raw: bytes) -> str | None:
    """`raw` as text, or None if it is not text."""
    try:
        return None if b"\0" in raw else raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def _json_fields(text: str | None, extra: dict[str, Any]) -> dict[str, Any]:
    """The fields of a JSON object; any other value, or an error, goes to `extra`."""
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
    """`text`, or the first field under one of `names`; removes fields equal to the result."""
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
