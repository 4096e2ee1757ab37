"""All that a run knows of each picture, as one table a part."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store import Artifact
from ..run import Run
from ..view.searcher import first_captions

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

EMBEDDING = "embedding"
FEATURE = "feature"
TOLD = (
    "key",
    "shard",
    "offset",
    "size",
    "width",
    "height",
    "caption",
    "label",
    "url",
    "extra",
)
"""Columns of the embeddings that stand in an export under their own names."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a run, with what belongs to its embeddings now and nothing older."""

    embeddings: Artifact
    features: Artifact | None
    assignments: Artifact | None
    captions: Artifact | None
    duplicates: Artifact | None

    @classmethod
    def of(cls, run: Run) -> "Rows":
        """MissingError where nothing is embedded; all else may be missing."""
        assignments = run.current("assignments")
        return cls(
            embeddings=run.artifact("embeddings"),
            features=run.current("features"),
            assignments=assignments,
            captions=run.current("captions") if assignments is not None else None,
            duplicates=run.current("duplicates"),
        )

    def __len__(self) -> int:
        return self.embeddings.rows

    def tables(self, vectors: "tuple[str, ...]" = (EMBEDDING, FEATURE)) -> "Iterator[pa.Table]":
        """A table a part, in row order, all of one schema; vectors are lists of float16.

        Columns: `row`, those of `TOLD`, then as far as the run has them `cluster`, `confidence`,
        `novelty`, `cluster_caption`, `duplicate_of` (the row that is kept for it) and the vectors.
        """
        import pyarrow as pa

        kept = self._kept()
        names = first_captions(self.captions) if self.captions is not None else {}
        for part in self.embeddings.parts:
            start = self.embeddings.starts[part.name]
            numbers = pa.array(range(start, start + part.rows), pa.int64())
            columns: dict[str, Any] = {"row": numbers}
            told = self.embeddings.table(part.name, columns=list(TOLD))
            columns |= {name: told.column(name) for name in TOLD}
            if self.assignments is not None:
                given = ["cluster", "confidence", "novelty"]
                assigned = self.assignments.table(part.name, columns=given)
                columns |= {name: assigned.column(name) for name in given}
                if self.captions is not None:
                    clusters = assigned.column("cluster").to_pylist()
                    named = [names.get(one) for one in clusters]
                    columns["cluster_caption"] = pa.array(named, pa.string())
            if kept is not None:
                own = [kept.get(row) for row in range(start, start + part.rows)]
                columns["duplicate_of"] = pa.array(own, pa.int64())
            if EMBEDDING in vectors:
                columns[EMBEDDING] = self.embeddings.table(part.name, columns=[EMBEDDING])[
                    EMBEDDING
                ]
            if FEATURE in vectors and self.features is not None:
                columns[FEATURE] = as_lists(self.features.array(part.name, "z"))
            yield pa.table(columns)

    def _kept(self) -> dict[int, int] | None:
        """For each row that could be dropped the row that is kept for it."""
        if self.duplicates is None:
            return None
        rows = self.duplicates.table(
            self.duplicates.parts[0].name, columns=["group", "row", "kept"]
        ).to_pylist()
        leader = {row["group"]: row["row"] for row in rows if row["kept"]}
        return {row["row"]: leader[row["group"]] for row in rows if not row["kept"]}


def as_lists(block: "np.ndarray") -> "pa.Array":
    """Rows (n, d) as a column of lists of d numbers."""
    import numpy as np
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(block).reshape(-1))
    field = pa.field("element", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(field, block.shape[1]))


def write_tables(path: Path, tables: "Iterator[pa.Table]", **how: Any) -> None:
    """Writes tables of one schema, of which there is at least one, as row groups of one file."""
    import pyarrow.parquet as pq

    first = next(tables)
    with pq.ParquetWriter(path, first.schema, **how) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
