"""What a spectrum says of rows: their place among its eigenvectors, and their clusters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..store import Artifact, ConfigError

if TYPE_CHECKING:
    import numpy as np

RESTARTS = 10
"""Starts of k-means among the leading eigenvectors, of which the best is kept."""


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """The rows that a spectrum was made of, with float32 copies of what it says."""

    rows: "np.ndarray"
    """(m,) their numbers over all parts."""
    z: "np.ndarray"
    """(m, p) their features."""
    values: "np.ndarray"
    """(k_max,) eigenvalues."""
    vectors: "np.ndarray"
    """(m, k_max) eigenvectors."""
    degrees: "np.ndarray"
    """(m,) sums of the graph's rows."""
    neighbours: int
    seed: int

    @classmethod
    def of(cls, spectrum: Artifact) -> "Landmarks":
        """The landmarks of a spectrum."""
        import numpy as np

        tensors = spectrum.tensors(spectrum.parts[0].name, "tensors")
        return cls(
            rows=tensors["landmark_rows"],
            z=tensors["landmark_z"].astype(np.float32),
            values=tensors["eigenvalues"],
            vectors=tensors["eigenvectors"],
            degrees=tensors["degrees"],
            neighbours=int(spectrum.manifest.config["neighbours"]),
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
