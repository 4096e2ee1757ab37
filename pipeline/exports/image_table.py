"""A table with a row an image and all that a run knows of it, part by part."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...store import Artifact
from ..run import Run
from ..view.captions import first_captions
from ..view.columns import SAMPLE_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

EMBEDDING = "embedding"
FEATURE = "feature"

_OF_ASSIGNMENTS = ("cluster", "confidence", "novelty")


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """The images of a run, with what belongs to its current embeddings and nothing older."""

    embeddings: Artifact
    features: Artifact | None
    assignments: Artifact | None
    captions: Artifact | None
    duplicates: Artifact | None

    @classmethod
    def of(cls, run: Run) -> Self:
        """MissingError if nothing is embedded; the rest may be missing, or is reported if stale."""
        return cls(
            embeddings=run.artifact("embeddings"),
            features=run.show("features"),
            assignments=run.show("assignments"),
            captions=run.show("captions"),
            duplicates=run.show("duplicates"),
        )

    def __len__(self) -> int:
        return self.embeddings.rows

    def tables(self, vectors: tuple[str, ...] = (EMBEDDING, FEATURE)) -> "Iterator[pa.Table]":
        """A table a part, in row order, all of one schema; vectors are lists of float16.

        Columns: `row`, those of the embeddings, then as far as the run has them `cluster`,
        `confidence`, `novelty`, `cluster_caption`, `duplicate_of` (the row that is kept instead)
        and the vectors.
        """
        import pyarrow as pa

        kept = self._kept_rows()
        names = first_captions(self.captions) if self.captions is not None else {}
        for part in self.embeddings.parts:
            start = self.embeddings.starts[part.name]
            numbers = range(start, start + part.rows)
            columns: dict[str, Any] = {"row": pa.array(numbers, pa.int64())}
            table = self.embeddings.table(part.name, columns=list(SAMPLE_COLUMNS))
            columns |= {name: table.column(name) for name in SAMPLE_COLUMNS}
            if self.assignments is not None:
                table = self.assignments.table(part.name, columns=list(_OF_ASSIGNMENTS))
                columns |= {name: table.column(name) for name in _OF_ASSIGNMENTS}
                if self.captions is not None:
                    clusters = table.column("cluster").to_pylist()
                    captions = [names.get(cluster) for cluster in clusters]
                    columns["cluster_caption"] = pa.array(captions, pa.string())
            if kept is not None:
                columns["duplicate_of"] = pa.array([kept.get(row) for row in numbers], pa.int64())
            if EMBEDDING in vectors:
                table = self.embeddings.table(part.name, columns=[EMBEDDING])
                columns[EMBEDDING] = table.column(EMBEDDING)
            if FEATURE in vectors and self.features is not None:
                columns[FEATURE] = as_lists(self.features.array(part.name, "z"))
            yield pa.table(columns)

    def _kept_rows(self) -> dict[int, int] | None:
        """For each row that could be dropped, the row that is kept instead."""
        if self.duplicates is None:
            return None
        rows = self.duplicates.table(
            self.duplicates.only_part, columns=["group", "row", "kept"]
        ).to_pylist()
        kept_of_group = {row["group"]: row["row"] for row in rows if row["kept"]}
        return {row["row"]: kept_of_group[row["group"]] for row in rows if not row["kept"]}


def as_lists(block: np.ndarray) -> "pa.Array":
    """Rows (n, d) as a column of lists of d numbers."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(block).reshape(-1))
    field = pa.field("element", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(field, block.shape[1]))


def write_tables(path: Path, tables: "Iterator[pa.Table]", **options: Any) -> None:
    """Writes at least one table, all of one schema, as row groups of one Parquet file."""
    import pyarrow.parquet as pq

    first = next(tables)
    with pq.ParquetWriter(path, first.schema, **options) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
