"""Columns of Parquet as Python values, for any type that users' tables hold."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def table_errors() -> tuple[type[Exception], ...]:
    """What Arrow raises where a table is damaged; names of columns may not be UTF-8."""
    import pyarrow as pa

    return pa.ArrowException, OSError, UnicodeDecodeError


def find_repeated(names: Sequence[str], wanted: Collection[str]) -> str | None:
    """The first of some columns that a table has more than once, so that its name names none."""
    return next((name for name in wanted if names.count(name) > 1), None)


def plain_column(column: "pa.Array | pa.ChunkedArray") -> list[Any]:
    """The values of a column; those that Python has no type for become text.

    These are nanoseconds, years beyond 9999, and strings that are not UTF-8, whose wrong bytes
    become U+FFFD.
    """
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        # One by one, so that a value does not depend on those around it.
        return [_plain(column[row]) for row in range(len(column))]


def _plain(scalar: Any) -> Any:
    import pyarrow as pa
    from pyarrow import types

    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        kind = scalar.type
    if types.is_dictionary(kind):
        return _plain(scalar.value)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return scalar.as_buffer().to_pybytes().decode("utf-8", "replace")
    if types.is_struct(kind):
        return {field.name: _plain(scalar[number]) for number, field in enumerate(kind)}
    if types.is_map(kind):
        return [(item["key"], item["value"]) for item in plain_column(scalar.values)]
    if types.is_nested(kind):
        return plain_column(scalar.values)
    if types.is_duration(kind):
        return f"{scalar.value} {kind.unit}"
    if types.is_timestamp(kind):
        scalar = scalar.cast(pa.timestamp(kind.unit))  # in UTC, which needs no list of time zones
    return scalar.cast(pa.string()).as_py()
