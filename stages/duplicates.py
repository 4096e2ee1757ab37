"""Embeddings in, groups of near-duplicates out, with the one to keep of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import DUPLICATES, Kind, Table
from .artifact_rows import gather
from .contract import Inputs, Part, Runtime, Stage
from .part_tables import write_table

if TYPE_CHECKING:
    import pyarrow as pa

THRESHOLD = 0.97
"""For a model of which nothing else was measured: with ViT-B-32, 21 of the 22 mirrored leopards of
Caltech-101 are found at it, and 2 % of its other pictures go for another."""

THRESHOLDS: Mapping[str, float] = {"digits-clip": 0.99, "mnv2-clip": 0.98}
"""By the name of a model: `benchmarks.duplicates` finds more copies and more others below it."""


def default_threshold(model: Mapping[str, Any]) -> float:
    """The cosine above which pictures are near-duplicates to the model that embedded them."""
    return THRESHOLDS.get(model.get("model", ""), THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class Duplicates(Stage):
    """Groups pictures that are near-duplicates of one that is kept: the largest of its group.

    Of equally large ones the first key is kept. Raw embeddings are compared, since refined features
    are made to bring pictures of one kind together.
    """

    name: ClassVar[str] = "duplicates"
    kind: ClassVar[Kind] = DUPLICATES
    revision: ClassVar[int] = 1

    threshold: float = THRESHOLD
    """Least cosine of a duplicate with the one that is kept for it."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(
                f"a similarity of {self.threshold:g} is not allowed for duplicates: above 0, and "
                "at most 1, is"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Rows and sizes of the pictures."""
        return ("embeddings",)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Compares all pictures with all that are kept, and writes the groups."""
        import pyarrow as pa
        import torch

        from .algorithms.near_duplicates import NONE, near_duplicates

        embeddings = inputs["embeddings"]
        told = _read(embeddings)
        runtime.progress.start("duplicates", len(told), "rows")
        found = near_duplicates(
            torch.from_numpy(gather(embeddings)),
            torch.from_numpy(_by_preference(told)),
            self.threshold,
            device=runtime.device,
            tell=runtime.progress.advance,
        )
        kept, similarity = found
        dropped = np.flatnonzero(kept != NONE)
        leaders = np.unique(kept[dropped])
        rows = np.concatenate([leaders, dropped])
        group = np.searchsorted(leaders, np.concatenate([leaders, kept[dropped]]))
        is_kept = np.arange(len(rows)) < len(leaders)
        # In a group the kept one comes first, then the most similar.
        order = np.lexsort((rows, -similarity[rows], ~is_kept, group))
        rows, group, is_kept = rows[order], group[order], is_kept[order]
        columns = told.take(rows).to_pydict()
        arrays = {"group": group, "row": rows, "kept": is_kept, "similarity": similarity[rows]}
        spec = DUPLICATES.files["rows"]
        assert isinstance(spec, Table)
        schema = spec.schema()
        values = {**columns, **arrays}
        table = pa.table([pa.array(values[one.name], one.type) for one in schema], schema=schema)
        write_table(scratch, "rows", table)
        sizes = np.bincount(group, minlength=1)
        return Product(
            rows=len(rows),
            shared={
                "rows_in_all": embeddings.rows,
                "groups": len(leaders),
                "dropped": len(dropped),
                "largest": int(sizes.max()),
                "threshold": self.threshold,
            },
        )


def _read(embeddings: Artifact) -> "pa.Table":
    """Key, shard and size of every picture, in row order."""
    import pyarrow as pa

    columns = ["key", "shard", "width", "height"]
    tables = [embeddings.table(part.name, columns=columns) for part in embeddings.parts]
    return pa.concat_tables(tables)


def _by_preference(told: "pa.Table") -> np.ndarray:
    """Row numbers, the largest picture first, then by key and shard; unknown sizes come last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    width, height = (told.column(name).cast(pa.int64()) for name in ("width", "height"))
    area = pc.fill_null(pc.multiply(width, height), 0)
    order = pc.sort_indices(
        told.append_column("area", area),
        sort_keys=[("area", "descending"), ("key", "ascending"), ("shard", "ascending")],
    )
    return order.to_numpy().astype("int64")
