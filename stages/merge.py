"""Features and spectrum in, a hierarchy out: from the finest clusters down to one."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import Product, Scratch
from ..store.kinds import HIERARCHY, Kind
from .contract import Inputs, Part, Runtime, Stage
from .rows.landmarks import gather_features, open_landmarks


@dataclass(frozen=True, kw_only=True)
class Merge(Stage):
    """Repeatedly merges the two clusters whose merging adds least, by `criterion`.

    Every level is a partition, nested in the next coarser one.
    """

    name: ClassVar[str] = "merge"
    kind: ClassVar[Kind] = HIERARCHY
    revision: ClassVar[int] = 2
    refit: ClassVar[str] = "hierarchy"

    finest: int = 200
    """Clusters that merging starts from, at most; the spectrum's k_max if that is less."""
    criterion: Literal["rate", "code"] = "rate"
    """Whether to merge the pair that adds least to the rate of rows within their clusters, or to
    the whole code. On small sets `code` lets one cluster swallow the rest:
    `algorithms.clustering.hierarchy`."""
    eps_sq: float = 0.1
    """ε², the squared distortion."""
    rows: int = 50_000
    """Rows whose code is measured, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.require_at_least(finest=1, rows=2, seed=0)
        self.require_distortion()

    @property
    def needs(self) -> tuple[str, ...]:
        """The rows whose code is measured, and the source of the finest clusters."""
        return ("features", "spectrum")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Finds the finest clusters, then merges them until one is left."""
        import torch
        from safetensors.numpy import save_file

        from .algorithms.clustering.hierarchy import build_hierarchy, shortest_level
        from .algorithms.clustering.landmarks import Partition
        from .algorithms.clustering.sampling import choose_rows
        from .algorithms.coding_length import second_moments

        total = inputs["features"].rows
        landmarks = open_landmarks(inputs["spectrum"], runtime.device)
        runtime.progress.start("merge", 1, "hierarchy")
        pieces, centroids = landmarks.cluster(min(self.finest, len(landmarks.values)))
        leaves = Partition(pieces, centroids, np.arange(len(centroids)))
        sample = choose_rows(total, self.rows, self.seed)
        z, points = gather_features(inputs["features"], sample, landmarks, draw=runtime.draw)
        self.require_distortion(z.shape[1])
        labels = leaves.nearest(landmarks.place(points, centroids.shape[1]))
        moments = second_moments(torch.from_numpy(z), torch.from_numpy(labels), leaves.k)
        hierarchy = build_hierarchy(
            moments, eps_sq=self.eps_sq, total=total, criterion=self.criterion
        )
        merges = hierarchy.merges
        columns = {
            "level": list(range(leaves.k, 0, -1)),
            "parent": [None, *(merge.parent for merge in merges)],
            "left": [None, *(merge.left for merge in merges)],
            "right": [None, *(merge.right for merge in merges)],
            "coding_length_nats": [hierarchy.finest_length, *(merge.length for merge in merges)],
        }
        scratch.write_table("rows", columns)
        tensors = {"centroids": np.ascontiguousarray(centroids, np.float32), "pieces": pieces}
        save_file(tensors, scratch.path("leaves"))
        runtime.progress.advance(1)
        facts = {"finest": leaves.k, "shortest": shortest_level(hierarchy)}
        return Product(rows=leaves.k, shared=facts)
