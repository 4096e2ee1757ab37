"""The pages of plain float16 numbers in a Parquet file, and reading them without Arrow.

Arrow decodes a nested column number by number, about ten times slower than a copy; see
`benchmarks.read`. Pages that are not plain are left to Arrow.
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
"""Enough for any page header: about 30 bytes, and 20 more with statistics of float16."""


class Page(NamedTuple):
    """A run of float16 numbers that lie in a Parquet file as they do in memory."""

    first: int
    """Index of its first number among those of its row group; it may begin inside a row."""
    numbers: int
    offset: int
    """Position of its first number in the file, in bytes."""


def find_pages(path: Path, row_group: Any, width: int) -> list[Page] | None:
    """The pages of a row group's embeddings; None if Arrow must decode them.

    The numbers of an uncompressed plain page are its last bytes. The levels before them say
    nothing new, since each row has `width` numbers.
    """
    columns = map(row_group.column, range(row_group.num_columns))
    column = next(column for column in columns if column.path_in_schema.startswith("embedding."))
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
                return None  # another kind of page, or damage: Arrow reports which
            if not 0 < 2 * numbers <= size:
                return None
            at += length + size
            pages.append(Page(first, numbers, at - 2 * numbers))
            first += numbers
    return pages if first == column.num_values else None


def _struct(raw: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct in Thrift's compact protocol by number, and where the struct ends.

    Knows the types of a page header: bool, int, binary and struct. In Parquet's format field 2
    holds the page's bytes and field 5 the header of a data page, whose field 1 counts values.
    """
    fields: dict[int, Any] = {}
    number = 0
    while raw[at]:
        step, kind = raw[at] >> 4, raw[at] & 15
        number, at = number + step, at + 1
        if step == 0:
            raise ValueError(
                "a field of a page header must be numbered relative to the field before it"
            )
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
            raise ValueError(f"a field of a page header cannot be of Thrift's type {kind}")
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
    """Fills an array with the numbers of a row group from number `first` on."""
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
