"""What a spectrum says of rows: their place among its eigenvectors, and their clusters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..store import Artifact, ConfigError

if TYPE_CHECKING:
    import numpy as np

    from .algorithms.consensus import Cells

RESTARTS = 10
"""Starts of k-means among the leading eigenvectors, of which the best is kept."""


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """The rows that a spectrum was made of, with float32 copies of what it says."""

    rows: "np.ndarray"
    """(m,) their numbers over all parts."""
    z: "np.ndarray"
    """(m, p) their features."""
    x: "np.ndarray"
    """(m, d) their embeddings."""
    found: "np.ndarray"
    """(m, r) the cell of each base clustering that each is in."""
    cells: "Cells"
    values: "np.ndarray"
    """(k_max,) eigenvalues."""
    vectors: "np.ndarray"
    """(m, k_max) eigenvectors."""
    seed: int

    @classmethod
    def of(cls, spectrum: Artifact) -> "Landmarks":
        """The landmarks of a spectrum."""
        import numpy as np

        from .algorithms.consensus import Cells

        tensors = spectrum.tensors(spectrum.parts[0].name, "tensors")
        return cls(
            rows=tensors["landmark_rows"],
            z=tensors["landmark_z"].astype(np.float32),
            x=tensors["landmark_x"].astype(np.float32),
            found=tensors["landmark_cells"],
            cells=Cells(tensors["centroids"], tensors["starts"]),
            values=tensors["eigenvalues"],
            vectors=tensors["eigenvectors"],
            seed=int(spectrum.manifest.config["seed"]),
        )

    def cluster(self, k: int, restarts: int = RESTARTS) -> "tuple[np.ndarray, np.ndarray]":
        """Labels (m,) of the landmarks in k clusters, and the centroids (k, k) among unit rows.

        ConfigError when k is more than the spectrum serves.
        """
        from .algorithms.spectral import cluster_rows, spectral_rows

        if k > len(self.values):
            raise ConfigError(
                f"k = {k} is more than the {len(self.values)} eigenvectors that the spectrum "
                f"holds: raise spectrum.k_max, up to its {len(self.rows)} landmarks"
            )
        return cluster_rows(spectral_rows(self.vectors, k), k, self.seed, restarts)

    def cluster_and_join(self, k: int) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
        """Pieces of k clusters: labels (m,) and centroids of the pieces, and each one's cluster.

        See `algorithms.merging`; often every piece is a cluster of its own.
        """
        from .algorithms.heads import centred_unit_rows
        from .algorithms.merging import cluster_and_join

        x = centred_unit_rows(self.x)
        return cluster_and_join(x, self.cluster, k, len(self.values), self.seed)


def clustering_rows(z: "np.ndarray", c: "np.ndarray") -> "np.ndarray":
    """What rows are clustered by: features and cluster features side by side, float32.

    Features alone keep what training did not separate, cluster features alone can collapse.
    """
    import numpy as np

    return np.hstack([z, c]).astype(np.float32) / np.sqrt(np.float32(2))
