"""Features and spectrum in, a hierarchy out: from the finest clusters down to one."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..store import ConfigError, Product, Scratch
from ..store.kinds import HIERARCHY, Kind, Table
from .contract import Inputs, Part, Runtime, Stage
from .embedding_rows import write_table
from .landmarks import gather_features, open_landmarks


@dataclass(frozen=True, kw_only=True)
class Merge(Stage):
    """Merges the two clusters whose merging lengthens the code least, again and again.

    Every level is a partition, nested in the next one.
    """

    name: ClassVar[str] = "merge"
    kind: ClassVar[Kind] = HIERARCHY
    revision: ClassVar[int] = 1
    is_fit: ClassVar[bool] = True
    refit: ClassVar[str] = "cpp-pipe hierarchy"

    finest: int = 200
    """Clusters that merging starts from, at most; the spectrum's k_max where that is less."""
    criterion: Literal["rate", "code"] = "rate"
    """Whether merging must add least to the rate of rows in their clusters, or to the whole code,
    which on small sets lets one cluster swallow the rest: `algorithms.clustering.hierarchy`."""
    eps_sq: float = 0.1
    """ε², the squared distortion."""
    rows: int = 50_000
    """Rows whose code is measured, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.finest < 1 or self.rows < 2:
            raise ConfigError(
                f"merge has finest = {self.finest} and rows = {self.rows}; allowed: 1 or more, "
                "and 2 or more"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Whose code is measured, and what tells the finest clusters."""
        return ("features", "spectrum")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Finds the finest clusters, and merges them down to one."""
        import numpy as np
        import pyarrow as pa
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
        z, points = gather_features(inputs["features"], choose_rows(total, self.rows, self.seed))
        labels = leaves.nearest(landmarks.place(points, centroids.shape[1]))
        moments = second_moments(torch.from_numpy(z), torch.from_numpy(labels), leaves.k)
        found = build_hierarchy(moments, eps_sq=self.eps_sq, total=total, criterion=self.criterion)
        levels = range(leaves.k, 0, -1)
        columns = {
            "level": list(levels),
            "parent": [None, *(one.parent for one in found.mergings)],
            "left": [None, *(one.left for one in found.mergings)],
            "right": [None, *(one.right for one in found.mergings)],
            "coding_length_nats": [found.finest_length, *(one.length for one in found.mergings)],
        }
        spec = HIERARCHY.files["rows"]
        assert isinstance(spec, Table)
        write_table(scratch, "rows", pa.Table.from_pydict(columns, schema=spec.schema()))
        tensors = {"centroids": np.ascontiguousarray(centroids, np.float32), "pieces": pieces}
        save_file(tensors, scratch.path("leaves"))
        runtime.progress.advance(1)
        facts = {"finest": leaves.k, "shortest": shortest_level(found)}
        return Product(rows=leaves.k, shared=facts)
