"""SHARD:KEY of many rows at once, and the rows that have such names."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ...stages.rows.image_names import Repeated, repeated_names
from ...store import QueryError
from .damage import reading
from .row_fields import RowFields

if TYPE_CHECKING:
    import pyarrow as pa


_COLUMNS = ["shard", "key"]


def names_of_rows(fields: RowFields, rows: np.ndarray) -> list[str]:
    """SHARD:KEY of each row, in the order given; QueryError for a row that does not exist."""
    if not len(rows):
        return []
    if not 0 <= rows.min() <= rows.max() < len(fields):
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise QueryError(f"row must be from 0 to {len(fields) - 1}, got {wrong}")
    names = np.empty(len(rows), object)
    for start, table in fields.parts():
        inside = np.flatnonzero((rows >= start) & (rows < start + len(table)))
        if len(inside):
            names[inside] = _names(table.select(_COLUMNS).take(rows[inside] - start)).to_pylist()
    renamed = _repeated(fields).names
    return [renamed.get(row, name) for row, name in zip(rows.tolist(), names, strict=True)]


def rows_of_names(fields: RowFields, names: Collection[str]) -> dict[str, int]:
    """The row of each SHARD:KEY; names that no row has are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not names:
        return {}
    value_set = pa.array(list(names), pa.string())
    rows: dict[str, int] = {}
    for start, table in fields.parts():
        names_of_table = _names(table)
        matches = pc.indices_nonzero(pc.is_in(names_of_table, value_set=value_set))
        numbers = (matches.to_numpy() + start).tolist()
        rows |= dict(zip(names_of_table.take(matches).to_pylist(), numbers, strict=True))
    repeated = _repeated(fields)
    rows = {name: row for name, row in rows.items() if name not in repeated.ambiguous}
    unique_names = frozenset(names)
    return rows | {name: row for row, name in repeated.names.items() if name in unique_names}


def _repeated(fields: RowFields) -> Repeated:
    with reading(fields.embeddings):
        return repeated_names(fields.embeddings)


def _names(table: "pa.Table") -> "pa.ChunkedArray":
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*(table.column(name) for name in _COLUMNS), ":")
