"""Imported vectors and fields as the columns of our embeddings."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..faults import Fault, FaultReason
from ..fields import clean_text, plain_value, to_json, whole_number
from .vector_file import VectorFile

FIELD_NAMES: Mapping[str, tuple[str, ...]] = {
    "key": ("key", "keys", "image_path"),
    "caption": ("caption", "captions", "text"),
    "label": ("label", "labels", "y"),
    "url": ("url", "urls"),
    "width": ("width",),
    "height": ("height",),
}
"""The names, in any case, under which each of our columns is looked for; earlier names win."""

BLOCK_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class ImportedRows:
    """The usable rows, and a fault for each unusable one."""

    columns: dict[str, Any]
    """`embedding` is a float16 array of unit rows; `key`, `width`, `height`, `caption`, `label`,
    `url` and `extra` are lists of one value per row."""
    faults: tuple[Fault, ...]


def to_rows(vectors: np.ndarray | VectorFile, fields: Mapping[str, Sequence[Any]]) -> ImportedRows:
    """Unit rows with their columns; `fields` has len(vectors) values under each name.

    Rows without a direction become faults, and so does every row but the first under a key,
    because people and other stages identify a row by its key. A row without a key gets its row
    number, zero-padded to one width.
    """
    units, faulty = unit_rows(vectors)
    rows = len(units)
    field_of = {column: _find(fields, names) for column, names in FIELD_NAMES.items()}
    others = [name for name in fields if name not in field_of.values()]
    digits = len(str(max(rows - 1, 0)))
    keys = [f"{row:0{digits}d}" for row in range(rows)]
    if field_of["key"] is not None:
        own_keys = map(_text, fields[field_of["key"]])
        keys = [key or number for key, number in zip(own_keys, keys, strict=True)]
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
        name = field_of[column]
        columns[column] = [None if name is None else read(fields[name][row]) for row in kept]
    columns["extra"] = [
        to_json(plain_value({name: fields[name][row] for name in others})) for row in kept
    ]
    columns["embedding"] = units if len(kept) == rows else units[kept]
    return ImportedRows(columns=columns, faults=tuple(faults))


def unit_rows(
    vectors: np.ndarray | VectorFile,
) -> tuple[np.ndarray, dict[int, tuple[FaultReason, str]]]:
    """float16 rows of unit length, normalised in float32, and why some rows have no direction.

    Each row is first divided by its largest entry, so that no square overflows or underflows.
    """
    rows, size = vectors.shape
    units = np.zeros((rows, size), np.float16)
    faulty: dict[int, tuple[FaultReason, str]] = {}
    for start in range(0, rows, BLOCK_ROWS):
        block = np.asarray(vectors[start : start + BLOCK_ROWS])
        wrong = find_faulty(block)
        faulty.update((start + row, why) for row, why in wrong.items())
        good = np.delete(np.arange(len(block)), list(wrong))
        largest = np.abs(block[good]).max(axis=1, initial=0)
        scaled = (block[good] / largest[:, None]).astype(np.float32)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        units[start + good] = (scaled / lengths).astype(np.float16)
    return units, faulty


def find_faulty(vectors: np.ndarray) -> dict[int, tuple[FaultReason, str]]:
    """The rows without a direction, each with the reason."""
    size = vectors.shape[1]
    is_finite = np.isfinite(vectors)
    is_whole = is_finite.all(axis=1)
    faulty: dict[int, tuple[FaultReason, str]] = {}
    for row in np.flatnonzero(~is_whole).tolist():
        detail = f"{size - int(is_finite[row].sum())} of {size} values are not finite"
        faulty[row] = "not_finite", detail
    for row in np.flatnonzero(is_whole & ~vectors.any(axis=1)).tolist():
        faulty[row] = "zero_norm", f"all {size} values are zero"
    return faulty


def _find(fields: Mapping[str, Sequence[Any]], names: tuple[str, ...]) -> str | None:
    """The field named as one of `names`, in any case; earlier names win."""
    by_lower = {name.lower(): name for name in reversed(list(fields))}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _text(value: Any) -> str | None:
    """A value as text, or None if there is none; integral floats lose their `.0`."""
    value = whole_number(plain_value(value))
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    return None if value is None or not str(value).strip() else clean_text(str(value))


def _whole(value: Any) -> int | None:
    """A number of pixels, or None if the value is not one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and math.isfinite(value) and 0 < value < 2**31 else None
