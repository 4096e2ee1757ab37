"""Rows by their keys. A key is unique in its shard only, so `SHARD:KEY` names the shard too."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...stages.rows.image_names import repeated_names, rows_of_images
from ...store import Artifact, QueryError
from ..wording import counted
from .columns import read_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_SHOWN = 5
"""Shards or keys that an error lists."""


_WHOLE_FLOAT = re.compile(r"(.*:)?\d+\.0", re.DOTALL)


class _KeyRow(NamedTuple):
    """A row whose key matches."""

    row: int
    key: str
    shard: str


def find_rows(embeddings: Artifact, key: str, shard: str | None = None) -> list[int]:
    """The rows of a key, in one shard or in all; empty if there are none."""
    return [match.row for match in _find(embeddings, {key: shard})]


def row_of_key(embeddings: Artifact, key: str, flag: str = "") -> int:
    """The row of KEY or SHARD:KEY; QueryError, which names the flag, if it is not in one shard."""
    subject = flag or f"the key {key!r}"
    shard, _, rest = key.rpartition(":")
    matches = list(_find(embeddings, {key: None, **({rest: shard} if shard else {})}))
    if not matches:
        row = rows_of_images(embeddings, [key]).get(key) if shard else None
        if row is not None:
            return row
        first = read_rows(embeddings, range(min(1, embeddings.rows)), ("key",))
        example = "".join(f"; keys look like {fields['key']!r}" for fields in first)
        raise QueryError(
            f"{subject} is in none of the {counted(embeddings.rows, 'row')} of the run{example}"
        )
    if len(matches) > 1:
        renamed = repeated_names(embeddings).names
        shown = [renamed[match.row] for match in matches if match.row in renamed][:_SHOWN]
        if shown:
            raise QueryError(f"{subject} is in several parts: write one of {', '.join(shown)}")
        shards = ", ".join(match.shard for match in matches[:_SHOWN])
        raise QueryError(f"{subject} is in several shards ({shards}): write SHARD:{key}")
    return matches[0].row


def match_keys(embeddings: Artifact, names: Collection[str]) -> "tuple[np.ndarray, frozenset[str]]":
    """Whether each row has a name (KEY or SHARD:KEY), bool (n,), and the names that no row has."""
    is_named, counts = _count_matches(embeddings, frozenset(names))
    return is_named, frozenset(names).difference(counts)


def rows_of_keys(embeddings: Artifact, names: Collection[str]) -> "np.ndarray":
    """The rows that KEY or SHARD:KEY name, ascending.

    QueryError for a name that no row has, and for one that several rows have.
    """
    is_named, counts = _count_matches(embeddings, frozenset(names))
    if unknown := frozenset(names).difference(counts):
        for name in sorted(unknown & repeated_names(embeddings).ambiguous):
            row_of_key(embeddings, name)  # its error says which names work
        shown = ", ".join(sorted(unknown)[:_SHOWN])
        raise QueryError(f"the run has no image of the key {shown}")
    for name in sorted(name for name, count in counts.items() if count > 1):
        row_of_key(embeddings, name)  # its error says which names work
    return is_named.nonzero()[0]


def _count_matches(
    embeddings: Artifact, names: frozenset[str]
) -> "tuple[np.ndarray, Counter[str]]":
    """Whether each row has a name, bool (n,), and the number of rows that have each name."""
    import numpy as np

    repeated, counts = repeated_names(embeddings), Counter[str]()
    is_named: list[bool] = []
    for part in embeddings.parts:
        table = embeddings.table(part.name, columns=["key", "shard"]).to_pydict()
        for key, shard in zip(table["key"], table["shard"], strict=True):
            name = repeated.names.get(len(is_named), f"{shard}:{key}")
            matches = names & {key, name}
            if matches:
                counts.update(matches)
            is_named.append(bool(matches))
    return np.array(is_named, bool), counts


def without_point(name: str) -> str:
    """A name whose key is a whole number among floats, as it is among integers.

    pandas turns a column of integers with gaps into floats.
    """
    return name.removesuffix(".0") if _WHOLE_FLOAT.fullmatch(name) else name


def names_of_rows(embeddings: Artifact, rows: "Sequence[int] | np.ndarray") -> list[str]:
    """SHARD:KEY of some rows, in the order given; PART:KEY if two parts hold that."""
    columns = read_rows(embeddings, rows, ("shard", "key"))
    renamed = repeated_names(embeddings).names
    return [
        renamed.get(int(row), f"{fields['shard']}:{fields['key']}")
        for row, fields in zip(rows, columns, strict=True)
    ]


def shortest_names(embeddings: Artifact, rows: "Sequence[int] | np.ndarray") -> list[str]:
    """KEY of some rows, in the order given; SHARD:KEY or PART:KEY if several rows have the key."""
    if not len(rows):
        return []
    keys = [fields["key"] for fields in read_rows(embeddings, rows, ("key",))]
    counts = Counter(match.key for match in _find(embeddings, dict.fromkeys(keys)))
    names = names_of_rows(embeddings, rows) if max(counts.values(), default=1) > 1 else keys
    return [name if counts[key] > 1 else key for key, name in zip(keys, names, strict=True)]


def with_parts(embeddings: Artifact, table: "pa.Table") -> "pa.Table":
    """A table of `row`, `key` and `shard`, with the part as the shard of each PART:KEY."""
    import pyarrow as pa

    renamed = repeated_names(embeddings).names
    if not renamed:
        return table
    rows, keys, shards = (table.column(name).to_pylist() for name in ("row", "key", "shard"))
    named = [
        renamed[row].removesuffix(f":{key}") if row in renamed else shard
        for row, key, shard in zip(rows, keys, shards, strict=True)
    ]
    place = table.schema.get_field_index("shard")
    return table.set_column(place, table.field(place), pa.array(named, pa.string()))


def _find(embeddings: Artifact, shard_of: Mapping[str, str | None]) -> Iterator[_KeyRow]:
    """The rows of the keys in `shard_of`, each in its shard; in any shard if that is None."""
    for part in embeddings.parts:
        start = embeddings.starts[part.name]
        for match in _find_in_file(embeddings.path(part.name, "rows"), shard_of):
            yield match._replace(row=start + match.row)


def _find_in_file(path: Path, shard_of: Mapping[str, str | None]) -> Iterator[_KeyRow]:
    """`_find` in a Parquet file; only row groups that may hold one of the keys are read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        column, start = file.schema_arrow.get_field_index("key"), 0
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            keys = group.column(column).statistics
            if not (keys and keys.has_min_max) or any(keys.min <= k <= keys.max for k in shard_of):
                table = file.read_row_group(number, columns=["key", "shard"])
                has_key = pc.is_in(table.column("key"), value_set=pa.array(list(shard_of)))
                for row in pc.indices_nonzero(has_key).to_pylist():
                    key, shard = (table.column(name)[row].as_py() for name in ("key", "shard"))
                    if shard_of[key] in (None, shard):
                        yield _KeyRow(start + row, key, shard)
            start += group.num_rows
