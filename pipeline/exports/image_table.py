"""A table with a row for each image and all that a run knows of it, part by part."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...stages.edits.replay import Edited
from ...store import Artifact, ConfigError
from ..view.applied_edits import open_edited
from ..view.captions import first_captions
from ..view.columns import SAMPLE_COLUMNS
from ..view.conditions import match_where
from ..view.opened_run import OpenedRun
from ..view.scores import slots_of_scores

if TYPE_CHECKING:
    import pyarrow as pa

EMBEDDING = "embedding"
FEATURE = "feature"

_ASSIGNMENT_COLUMNS = ("cluster", "confidence", "novelty")


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """The images of a run with everything that was made from its current embeddings."""

    embeddings: Artifact
    features: Artifact | None
    assignments: Artifact | None
    captions: Artifact | None
    duplicates: Artifact | None
    edited: Edited | None = None
    """Decisions, which add columns; excluded images stay in the table."""
    scores: Mapping[str, Artifact] = field(default_factory=dict)
    """The artifact that holds each score, by the score's name."""
    allowed: np.ndarray | None = None
    """Whether each row is in the table, bool (n,); None for all rows."""
    report: Callable[[int], None] = lambda rows: None
    """Called after each part with the number of its rows that were written."""

    @classmethod
    def of(
        cls,
        run: OpenedRun,
        edits: str | None = None,
        report: Callable[[int], None] = lambda rows: None,
        *,
        where: Sequence[str] = (),
    ) -> Self:
        """The table of a run; artifacts that are out of date are reported and left out.

        `edits` names decisions: sealed ones, or `open`. Rows must meet all conditions of `where`.
        MissingError if nothing is embedded; ConfigError if no row meets the conditions.
        """
        allowed = match_where(run, where) if where else None
        if allowed is not None and not allowed.any():
            raise ConfigError(f"no image meets --where {' and '.join(where)}: give another one")
        return cls(
            embeddings=run.artifact("embeddings"),
            features=run.show("features"),
            assignments=run.show("assignments"),
            captions=run.show("captions"),
            duplicates=run.show("duplicates"),
            edited=None if edits is None else open_edited(run, edits),
            scores=_current_scores(run),
            allowed=allowed,
            report=report,
        )

    def __len__(self) -> int:
        return self.embeddings.rows if self.allowed is None else int(self.allowed.sum())

    @property
    def kept(self) -> np.ndarray | None:
        """Whether each row is in the table and not excluded, bool (n,); None if all are."""
        if self.edited is None:
            return self.allowed
        kept = ~self.edited.excluded
        return kept if self.allowed is None else kept & self.allowed

    def tables(self, vectors: tuple[str, ...] = (EMBEDDING, FEATURE)) -> "Iterator[pa.Table]":
        """A table for each part, in row order, all of one schema; vectors are lists of float16.

        Columns: `row`, those of the embeddings, then, if the run has them, `cluster`, `confidence`,
        `novelty`, `cluster_caption`, with decisions `edited_cluster`, `cluster_name`, `tags`,
        `excluded` and `note`, `duplicate_of` (the row that is kept instead), the scores, and the
        vectors.
        """
        import pyarrow as pa

        kept_instead = self._kept_instead()
        names = first_captions(self.captions) if self.captions is not None else {}
        for part in self.embeddings.parts:
            start = self.embeddings.starts[part.name]
            numbers = range(start, start + part.rows)
            columns: dict[str, Any] = {"row": pa.array(numbers, pa.int64())}
            table = self.embeddings.table(part.name, columns=list(SAMPLE_COLUMNS))
            columns |= {name: table.column(name) for name in SAMPLE_COLUMNS}
            if self.assignments is not None:
                table = self.assignments.table(part.name, columns=list(_ASSIGNMENT_COLUMNS))
                columns |= {name: table.column(name) for name in _ASSIGNMENT_COLUMNS}
                if self.captions is not None:
                    clusters = table.column("cluster").to_pylist()
                    captions = [names.get(cluster) for cluster in clusters]
                    columns["cluster_caption"] = pa.array(captions, pa.string())
            if self.edited is not None:
                columns |= self._decision_columns(numbers)
            if kept_instead is not None:
                duplicate_of = [kept_instead.get(row) for row in numbers]
                columns["duplicate_of"] = pa.array(duplicate_of, pa.int64())
            for name, artifact in self.scores.items():
                columns[name] = artifact.table(part.name, columns=[name]).column(0)
            if EMBEDDING in vectors:
                table = self.embeddings.table(part.name, columns=[EMBEDDING])
                columns[EMBEDDING] = table.column(EMBEDDING)
            if FEATURE in vectors and self.features is not None:
                columns[FEATURE] = as_lists(self.features.array(part.name, "z"))
            table = pa.table(columns)
            if self.allowed is not None:
                table = table.filter(pa.array(self.allowed[start : start + part.rows]))
            yield table
            self.report(len(table))  # after the caller has used the table

    def _decision_columns(self, numbers: range) -> "dict[str, pa.Array]":
        """The decisions about these rows: cluster, its name, tags, exclusion and note."""
        import pyarrow as pa

        edited = self.edited
        assert edited is not None
        clusters = edited.cluster[numbers.start : numbers.stop].tolist()
        return {
            "edited_cluster": pa.array(clusters, pa.int32()),
            "cluster_name": pa.array(
                [edited.names.get(number) for number in clusters], pa.string()
            ),
            "tags": pa.array([edited.tags_of(row) for row in numbers], pa.list_(pa.string())),
            "excluded": pa.array(edited.excluded[numbers.start : numbers.stop], pa.bool_()),
            "note": pa.array([edited.row_notes.get(row) for row in numbers], pa.string()),
        }

    def _kept_instead(self) -> dict[int, int] | None:
        """For each near-duplicate that could be dropped, the row that is kept instead."""
        if self.duplicates is None:
            return None
        rows = self.duplicates.table(
            self.duplicates.only_part, columns=["group", "row", "kept"]
        ).to_pylist()
        kept_of_group = {row["group"]: row["row"] for row in rows if row["kept"]}
        return {row["row"]: kept_of_group[row["group"]] for row in rows if not row["kept"]}


def _current_scores(run: OpenedRun) -> dict[str, Artifact]:
    """The artifact of each score of a run; scores out of date are reported and left out."""
    slots = slots_of_scores(run)
    shown = {slot: run.show(slot) for slot in dict.fromkeys(slots.values())}
    artifacts = {name: shown[slot] for name, slot in slots.items()}
    return {name: artifact for name, artifact in artifacts.items() if artifact is not None}


def as_lists(block: np.ndarray) -> "pa.Array":
    """Rows (n, d) as a column of lists of d numbers."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(block).reshape(-1))
    field = pa.field("element", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(field, block.shape[1]))


def write_tables(path: Path, tables: "Iterator[pa.Table]", **options: Any) -> None:
    """Writes tables of one schema, at least one, as row groups of a Parquet file."""
    import pyarrow.parquet as pq

    first = next(tables)
    with pq.ParquetWriter(path, first.schema, **options) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def to_pandas(table: "pa.Table", pandas: Any) -> Any:
    """A table as a DataFrame; whole numbers stay whole numbers even if values are missing."""
    import pyarrow as pa

    frame = table.to_pandas()
    types = {pa.int64(): pandas.Int64Dtype(), pa.int32(): pandas.Int32Dtype()}
    for name in table.column_names:
        column = table.column(name)
        if column.type in types and column.null_count:
            frame[name] = pandas.array(column.to_pylist(), dtype=types[column.type])
    return frame
