"""Features and embeddings in, spectrum out: leading eigenvectors of a consensus of landmarks."""

import math
from dataclasses import dataclass
from typing import ClassVar

from ..store import ConfigError, Product, Scratch
from ..store.kinds import SPECTRUM, Kind
from .contract import Inputs, Part, Runtime, Stage
from .gather import EMBEDDING, gather_rows
from .landmarks import clustering_rows


@dataclass(frozen=True, kw_only=True)
class Spectrum(Stage):
    """Spectral embedding of landmarks, from which every other row's follows.

    The affinity of two landmarks is how often base clusterings of the features put them together
    (`algorithms.consensus`). On real embeddings that gave better clusters than the dense
    membership, which the paper uses, and than nearest neighbours: docs/what-we-learned.md.
    """

    name: ClassVar[str] = "spectrum"
    kind: ClassVar[Kind] = SPECTRUM
    revision: ClassVar[int] = 2
    is_fit: ClassVar[bool] = True

    landmarks: int = 10_000
    """Rows that make up the spectrum, at most; drawn without replacement."""
    clusterings: int = 24
    """Base clusterings whose consensus is taken."""
    k_max: int = 0
    """Eigenvectors that are kept; 0 chooses by the number of rows."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clusterings < 1:
            raise ConfigError(f"clusterings is {self.clusterings}; allowed: a whole number from 1")

    @property
    def needs(self) -> tuple[str, ...]:
        """The refined features, and the embeddings, by which pieces of one cluster are known."""
        return ("features", "embeddings")

    def eigenvectors(self, rows: int) -> int:
        """How many eigenvectors are kept for so many rows."""
        most = min(rows, self.landmarks)
        return min(self.k_max or max(30, min(2 * math.isqrt(rows), 2000)), most)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Chooses landmarks, clusters them many times, and keeps the leading eigenpairs."""
        import numpy as np
        from safetensors.numpy import save_file

        from .algorithms import consensus
        from .algorithms.spectral import choose_landmarks

        features = inputs["features"]
        if features.rows < 2:
            raise ConfigError(f"{features.rows} row(s) make no clusters: at least 2 are needed")
        runtime.progress.start("spectrum", 1, "consensus")
        rows = choose_landmarks(features.rows, self.landmarks, self.seed)
        z = gather_rows(features, "z", rows)
        points = clustering_rows(z, gather_rows(features, "c", rows))
        wanted = self.eigenvectors(features.rows)
        counts = consensus.cell_counts(len(rows), wanted, self.clusterings)
        cells = consensus.fit_cells(points, counts, self.seed)
        found = consensus.find_cells(points, cells)
        values, vectors = consensus.consensus_eigenpairs(
            found, len(cells.centroids), wanted, self.seed
        )
        tensors = {
            "landmark_rows": rows,
            "landmark_z": z,
            "landmark_x": gather_rows(inputs["embeddings"], EMBEDDING, rows),
            "landmark_cells": found.astype(np.int32),
            "centroids": cells.centroids,
            "starts": cells.starts.astype(np.int32),
            "eigenvalues": values.astype(np.float32),
            "eigenvectors": np.ascontiguousarray(vectors, np.float32),
        }
        save_file(tensors, scratch.path("tensors"))
        runtime.progress.advance(1)
        return Product(rows=len(rows), facts={"k_max": len(values), "rows_in_all": features.rows})
