"""Embeddings in, groups of near-duplicates out, with one image to keep of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import DUPLICATES, Kind
from .artifact_rows import gather
from .contract import Inputs, Part, Runtime, Stage

if TYPE_CHECKING:
    import pyarrow as pa

THRESHOLD = 0.97
"""For models without a measured threshold. With ViT-B-32 it finds 21 of the 22 mirrored leopards
of Caltech-101, and drops 2 % of the other images for another one."""

THRESHOLDS: Mapping[str, float] = {"digits-clip": 0.99}
"""Measured thresholds by the name of a model: a lower one finds more copies, and drops more images
that are none (`benchmarks.duplicates`)."""


def default_threshold(model: Mapping[str, Any]) -> float:
    """The least cosine of two near-duplicates, for the model that embedded them."""
    return THRESHOLDS.get(model.get("model", ""), THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class Duplicates(Stage):
    """Groups near-duplicates around an image to keep: the largest of its group, then the first key.

    Raw embeddings are compared, because refined features bring all images of one cluster together.
    """

    name: ClassVar[str] = "duplicates"
    kind: ClassVar[Kind] = DUPLICATES
    revision: ClassVar[int] = 1

    threshold: float = THRESHOLD
    """Least cosine of a duplicate with the image that is kept for it."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(
                f"duplicates: the threshold must be above 0 and at most 1, got {self.threshold:g}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Vectors, keys and sizes of the images."""
        return ("embeddings",)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Compares all images with those that are kept, and writes the groups."""
        import torch

        from .algorithms.near_duplicates import NONE, near_duplicates

        embeddings = inputs["embeddings"]
        images = _read(embeddings)
        runtime.progress.start("duplicates", len(images), "rows")
        kept, similarity = near_duplicates(
            torch.from_numpy(gather(embeddings)),
            torch.from_numpy(_by_preference(images)),
            self.threshold,
            device=runtime.device,
            report=runtime.progress.advance,
        )
        dropped = np.flatnonzero(kept != NONE)
        leaders = np.unique(kept[dropped])
        rows = np.concatenate([leaders, dropped])
        group = np.searchsorted(leaders, np.concatenate([leaders, kept[dropped]]))
        is_kept = np.arange(len(rows)) < len(leaders)
        # In each group the kept image comes first, then the most similar.
        order = np.lexsort((rows, -similarity[rows], ~is_kept, group))
        rows, group, is_kept = rows[order], group[order], is_kept[order]
        arrays = {"group": group, "row": rows, "kept": is_kept, "similarity": similarity[rows]}
        columns = images.take(rows).to_pydict()
        scratch.write_table("rows", {**columns, **arrays})
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
    """Key, shard and size of every image, in row order."""
    import pyarrow as pa

    columns = ["key", "shard", "width", "height"]
    tables = [embeddings.table(part.name, columns=columns) for part in embeddings.parts]
    return pa.concat_tables(tables)


def _by_preference(images: "pa.Table") -> np.ndarray:
    """Row numbers, the largest image first, then by key and shard; unknown sizes come last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    width, height = (images.column(name).cast(pa.int64()) for name in ("width", "height"))
    area = pc.fill_null(pc.multiply(width, height), 0)
    order = pc.sort_indices(
        images.append_column("area", area),
        sort_keys=[("area", "descending"), ("key", "ascending"), ("shard", "ascending")],
    )
    return order.to_numpy().astype("int64")
