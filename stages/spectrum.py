"""Features in, spectrum out: the leading eigenvectors of a graph among landmark rows."""

import math
from dataclasses import dataclass
from typing import ClassVar

from ..store import ConfigError, Product, Scratch
from ..store.kinds import SPECTRUM, Kind
from .contract import Inputs, Part, Runtime, Stage
from .gather import gather_rows


@dataclass(frozen=True, kw_only=True)
class Spectrum(Stage):
    """Spectral embedding of landmarks, from which every other row's follows.

    The graph joins each landmark to its nearest neighbours by cosine of the features: steadier on
    real embeddings than the dense membership (see `graph`), which the paper uses.
    """

    name: ClassVar[str] = "spectrum"
    kind: ClassVar[Kind] = SPECTRUM
    revision: ClassVar[int] = 1
    is_fit: ClassVar[bool] = True

    landmarks: int = 5000
    """Rows that make up the graph, at most; drawn without replacement."""
    neighbours: int = 10
    """Nearest neighbours that a landmark, or another row, is joined to."""
    k_max: int = 0
    """Eigenvectors that are kept; 0 chooses by the number of rows."""
    seed: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        """The features, raw or refined."""
        return ("features",)

    def eigenvectors(self, rows: int) -> int:
        """How many eigenvectors are kept for so many rows."""
        most = min(rows, self.landmarks)
        return min(self.k_max or max(30, min(2 * math.isqrt(rows), 2000)), most)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Chooses landmarks, joins them, and keeps the leading eigenpairs."""
        import numpy as np
        from safetensors.numpy import save_file

        from .algorithms.spectral import choose_landmarks, leading_eigenpairs, neighbour_graph

        features = inputs["features"]
        if features.rows < 2:
            raise ConfigError(f"{features.rows} row(s) make no clusters: at least 2 are needed")
        runtime.progress.start("spectrum", 1, "graph")
        rows = choose_landmarks(features.rows, self.landmarks, self.seed)
        z = gather_rows(features, "z", rows)
        graph = neighbour_graph(z.astype(np.float32), self.neighbours)
        wanted = self.eigenvectors(features.rows)
        values, vectors = leading_eigenpairs(graph, wanted, self.seed)
        tensors = {
            "landmark_rows": rows,
            "landmark_z": z,
            "eigenvalues": values.astype(np.float32),
            "eigenvectors": np.ascontiguousarray(vectors, np.float32),
            "degrees": np.asarray(graph.sum(axis=1), np.float32).reshape(-1),
        }
        save_file(tensors, scratch.path("tensors"))
        runtime.progress.advance(1)
        return Product(rows=len(rows), facts={"k_max": len(values), "rows_in_all": features.rows})
