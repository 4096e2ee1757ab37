"""Vectors and fields that someone else wrote, as the columns that our embeddings have."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..faults import Fault, FaultReason
from ..fields import clean_text

if TYPE_CHECKING:
    import numpy as np

FIELD_NAMES: Mapping[str, tuple[str, ...]] = {
    "key": ("key", "keys", "image_path"),
    "caption": ("caption", "captions", "text"),
    "label": ("label", "labels", "y"),
    "url": ("url", "urls"),
    "width": ("width",),
    "height": ("height",),
}
"""The names, in any case, under which a column of ours is found; the first that is there counts."""

BLOCK_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class ImportedRows:
    """The rows that can be used, and why the others cannot."""

    columns: dict[str, Any]
    """`key`, `width`, `height`, `caption`, `label`, `url`, `extra` as lists of as many values as
    `embedding` has rows: a float16 array of unit rows."""
    faults: tuple[Fault, ...]


def to_rows(vectors: "np.ndarray", fields: Mapping[str, Sequence[Any]]) -> ImportedRows:
    """Unit rows with their columns; `fields` has a sequence of len(vectors) values a name.

    Rows that have no direction are left out as faults, and so is every row but the first under a
    key, as the key is what other stages and people know a row by. Without keys, they are the row
    numbers, padded with zeros to one width.
    """
    units, faulty = unit_rows(vectors)
    rows = len(units)
    taken = {column: _find(fields, names) for column, names in FIELD_NAMES.items()}
    others = [name for name in fields if name not in taken.values()]
    digits = len(str(max(rows - 1, 0)))
    keys = [f"{row:0{digits}d}" for row in range(rows)]
    if taken["key"] is not None:
        named = map(_text, fields[taken["key"]])
        keys = [key or number for key, number in zip(named, keys, strict=True)]
    faults: list[Fault] = []
    kept: list[int] = []
    seen: set[str] = set()
    for row, key in enumerate(keys):
        if row in faulty:
            reason, detail = faulty[row]
        elif key in seen:
            reason, detail = "duplicate_key", f"row {row} has the key of a row above"
        else:
            kept.append(row)
            seen.add(key)
            continue
        faults.append(Fault(key=key, offset=None, reason=reason, detail=detail))
    columns: dict[str, Any] = {"key": [keys[row] for row in kept]}
    for column, read in (
        ("width", _whole),
        ("height", _whole),
        ("caption", _text),
        ("label", _text),
        ("url", _text),
    ):
        name = taken[column]
        columns[column] = [None if name is None else read(fields[name][row]) for row in kept]
    columns["extra"] = [_extra({name: fields[name][row] for name in others}) for row in kept]
    columns["embedding"] = units if len(kept) == rows else units[kept]
    return ImportedRows(columns=columns, faults=tuple(faults))


def unit_rows(
    vectors: "np.ndarray",
) -> "tuple[np.ndarray, dict[int, tuple[FaultReason, str]]]":
    """float16 rows of unit length, normalised in float32, and why some rows have none.

    Each row is first divided by its largest entry, so that no square overflows or vanishes.
    """
    import numpy as np

    rows, size = vectors.shape
    units = np.zeros((rows, size), np.float16)
    faulty: dict[int, tuple[FaultReason, str]] = {}
    for start in range(0, rows, BLOCK_ROWS):
        block = np.asarray(vectors[start : start + BLOCK_ROWS])
        is_finite = np.isfinite(block)
        largest = np.where(is_finite, np.abs(block), 0).max(axis=1, initial=0)
        for row in np.flatnonzero(~is_finite.all(axis=1)).tolist():
            detail = f"{size - int(is_finite[row].sum())} of {size} values are not finite"
            faulty[start + row] = "not_finite", detail
        for row in np.flatnonzero(is_finite.all(axis=1) & (largest == 0)).tolist():
            faulty[start + row] = "zero_norm", f"all {size} values are zero"
        good = np.flatnonzero(is_finite.all(axis=1) & (largest > 0))
        scaled = (block[good] / largest[good, None]).astype(np.float32)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        units[start + good] = (scaled / lengths).astype(np.float16)
    return units, faulty


def _find(fields: Mapping[str, Sequence[Any]], names: tuple[str, ...]) -> str | None:
    """The field that has one of `names`, in any case; the first of `names` first."""
    by_lower = {name.lower(): name for name in reversed(list(fields))}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _text(value: Any) -> str | None:
    """A value as text, or None where there is none; whole floats lose their `.0`.

    A column of whole numbers with gaps comes out of pandas as floats.
    """
    value = plain_value(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    return None if value is None or value == "" else clean_text(str(value))


def _whole(value: Any) -> int | None:
    """A number of pixels, or None where there is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and math.isfinite(value) and 0 < value < 2**31 else None


def _extra(values: Mapping[str, Any]) -> str:
    """A JSON object that every strict reader takes."""
    text = json.dumps(plain_value(dict(values)), ensure_ascii=False, allow_nan=False)
    return clean_text(text)


def plain_value(value: Any) -> Any:
    """A value as JSON knows it: not finite is null, bytes and other kinds are text."""
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
