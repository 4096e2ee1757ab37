"""Columns of rows: of some rows by their numbers, or of all rows."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...store import Artifact, RowError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SAMPLE_COLUMNS = (
    "key", "shard", "offset", "size", "width", "height", "caption", "label", "url", "extra",
)  # fmt: skip
"""All columns of the embeddings except the vectors."""


def take_rows(
    artifact: Artifact, rows: "Sequence[int] | np.ndarray", columns: Sequence[str]
) -> "pa.Table":
    """Columns of rows, by their numbers over all parts, in the order given.

    Reads only the parts that hold any of them, each once. RowError for a row that does not exist.
    """
    import numpy as np
    import pyarrow as pa

    from ...stages.rows.sampled_rows import split_by_part

    numbers = np.asarray(rows, np.int64)
    unique, places = np.unique(numbers, return_inverse=True)
    if len(unique) and not 0 <= unique[0] <= unique[-1] < artifact.rows:
        raise RowError(f"rows {unique[0]} to {unique[-1]} of {artifact.rows}")
    names = list(columns)
    tables = [
        artifact.table(part, columns=names).take(inside)
        for part, inside in split_by_part(artifact, unique)
    ]
    if not tables:
        return artifact.table(artifact.parts[0].name, columns=names).slice(0, 0)
    return pa.concat_tables(tables).take(places)


def read_rows(
    artifact: Artifact, rows: "Sequence[int] | np.ndarray", columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Columns of rows as plain values: a dict for each row."""
    return take_rows(artifact, rows, columns).to_pylist()


def iterate_columns(
    artifact: Artifact, columns: Sequence[str]
) -> "Iterator[tuple[np.ndarray, ...]]":
    """Columns of numbers part by part, in row order."""
    for part in artifact.parts:
        table = artifact.table(part.name, columns=list(columns))
        yield tuple(table.column(name).to_numpy() for name in columns)


def read_column(artifact: Artifact, column: str) -> "np.ndarray":
    """A column of numbers of all rows."""
    (values,) = read_columns(artifact, [column])
    return values


def read_columns(artifact: Artifact, columns: Sequence[str]) -> "list[np.ndarray]":
    """Columns of numbers of all rows."""
    import numpy as np

    pieces = list(zip(*iterate_columns(artifact, columns), strict=True))
    return [np.concatenate(column) for column in pieces] or [np.empty(0) for _ in columns]
