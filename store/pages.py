"""Where plain float16 numbers lie in a Parquet file, and reading them from there.

Arrow takes a nested column apart number by number, about ten times slower than a copy; see
`benchmarks.read`. Whatever is not plain is left to Arrow.
"""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import StoreError

if TYPE_CHECKING:
    import numpy as np

_HEADER_BYTES = 256
"""Enough for any page header: about 30 bytes, with statistics of float16 some 20 more."""


class Page(NamedTuple):
    """A run of float16 numbers that lie in a Parquet file as they lie in memory."""

    first: int
    """The number, among all of its row group, that it begins with; pages may cut rows."""
    numbers: int
    offset: int
    """In bytes, of its first number in the file."""


def find_pages(path: Path, row_group: Any, width: int) -> list[Page] | None:
    """Where the embeddings of a row group lie; None when Arrow must decode them.

    Arrow takes a nested column apart number by number, about ten times slower than a copy. But in
    an uncompressed plain page the numbers are its last bytes, and since each row has `width` of
    them, the levels before them say nothing new.
    """
    columns = map(row_group.column, range(row_group.num_columns))
    column = next(one for one in columns if one.path_in_schema.startswith("embedding."))
    is_plain = column.compression == "UNCOMPRESSED" and set(column.encodings) <= {"PLAIN", "RLE"}
    if not is_plain or column.num_values != row_group.num_rows * width:
        return None
    pages: list[Page] = []
    first, at = 0, column.data_page_offset
    with path.open("rb", buffering=0) as file:
        while first < column.num_values:
            file.seek(at)
            try:
                header, length = _struct(file.read(_HEADER_BYTES), 0)
                size, numbers = header[2], header[5][1]
            except (IndexError, KeyError, ValueError):
                return None  # another kind of page, or damage: Arrow says which
            if not 0 < 2 * numbers <= size:
                return None
            at += length + size
            pages.append(Page(first, numbers, at - 2 * numbers))
            first += numbers
    return pages if first == column.num_values else None


def _struct(raw: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct in Thrift's compact protocol by number, and where it ends.

    Of types only what stands in a page header: bool, int, binary and struct. Parquet's format
    numbers the fields: 2 is the page's bytes, 5 the header of a data page, whose 1 counts values.
    """
    fields: dict[int, Any] = {}
    number = 0
    while raw[at]:
        step, kind = raw[at] >> 4, raw[at] & 15
        number, at = number + step, at + 1
        if step == 0:
            raise ValueError("no field of a page header is numbered apart from the one before")
        if kind in (1, 2):
            fields[number] = kind == 1
        elif kind in (4, 5, 6):
            coded, at = _varint(raw, at)
            fields[number] = (coded >> 1) ^ -(coded & 1)
        elif kind == 8:
            length, at = _varint(raw, at)
            fields[number], at = raw[at : at + length], at + length
        elif kind == 12:
            fields[number], at = _struct(raw, at)
        else:
            raise ValueError(f"no field of a page header is of Thrift's type {kind}")
    return fields, at + 1


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[at] & 127) << shift
        shift += 7
        at += 1
        if raw[at - 1] < 128:
            return value, at


def read_pages(path: Path, pages: Sequence[Page], first: int, out: "np.ndarray") -> None:
    """Numbers of a row group from number `first` on, as many as the array takes."""
    target = out.data.cast("B")
    index = bisect_right(pages, first, key=attrgetter("first")) - 1
    done = 0
    with path.open("rb", buffering=0) as file:
        while done < out.size:
            page = pages[index]
            skipped = first + done - page.first
            count = min(page.numbers - skipped, out.size - done)
            file.seek(page.offset + 2 * skipped)
            if file.readinto(target[2 * done : 2 * (done + count)]) != 2 * count:
                raise StoreError(f"{path} ends before its rows do: it was cut after it was written")
            done += count
            index += 1
