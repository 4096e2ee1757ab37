"""Features and embeddings in, spectrum out: leading eigenvectors of an affinity of landmarks."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import SPECTRUM, Kind
from .contract import Inputs, Part, Runtime, Stage
from .landmarks import gather_embeddings, gather_features, to_tensors


@dataclass(frozen=True, kw_only=True)
class Spectrum(Stage):
    """Spectral embedding of landmarks, from which every other row's follows.

    Landmarks are linked by the paper's membership of their cluster features, or by how often base
    clusterings put them together (`algorithms.clustering`). On real embeddings the second gave the
    better clusters; unions of subspaces, as the theory has them, only the first can see. `auto`
    takes the one that makes the shorter code: docs/what-we-learned.md.
    """

    name: ClassVar[str] = "spectrum"
    kind: ClassVar[Kind] = SPECTRUM
    revision: ClassVar[int] = 4
    is_fit: ClassVar[bool] = True

    landmarks: int = 10_000
    """Rows that make up the spectrum, at most; drawn so that rare groups have their share."""
    affinity: Literal["auto", "consensus", "membership"] = "auto"
    clusterings: int = 24
    """Base clusterings whose consensus is taken."""
    eta: float = 0.1
    """Temperature of the membership: of the paper's the lowest, which tells most clusters apart."""
    k_max: int = 0
    """Eigenvectors that are kept; 0 chooses by the number of rows."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clusterings < 1:
            raise ConfigError(f"clusterings is {self.clusterings}; allowed: a whole number from 1")
        if not 0 < self.eta < math.inf:
            raise ConfigError(f"eta is {self.eta}; allowed: a number above 0")

    @property
    def needs(self) -> tuple[str, ...]:
        """The refined features, and the embeddings, by which pieces of one cluster are known."""
        return ("features", "embeddings")

    def eigenvectors(self, rows: int) -> int:
        """How many eigenvectors are kept for so many rows."""
        from .algorithms.clustering.landmarks import usual_k_max

        return min(self.k_max or usual_k_max(rows, self.landmarks), rows, self.landmarks)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Chooses landmarks, links them, and keeps the leading eigenpairs."""
        from safetensors.numpy import save_file

        from .algorithms.clustering.consensus import Consensus
        from .algorithms.clustering.landmarks import fit_landmarks

        features = inputs["features"]
        if features.rows < 2:
            raise ConfigError(f"{features.rows} row(s) make no clusters: at least 2 are needed")
        runtime.progress.start("spectrum", 1, "spectrum")
        rows, z, points = self._landmarks(features)
        found = fit_landmarks(
            points,
            z,
            gather_embeddings(inputs["embeddings"], rows),
            affinity=self.affinity,
            k_max=self.eigenvectors(features.rows),
            clusterings=self.clusterings,
            eta=self.eta,
            seed=self.seed,
            device=runtime.device,
        )
        affinity = "consensus" if isinstance(found.affinity, Consensus) else "membership"
        save_file(to_tensors(found, rows), scratch.path("tensors"))
        runtime.progress.advance(1)
        facts = {"k_max": len(found.values), "affinity": affinity, "rows_in_all": features.rows}
        return Product(rows=len(rows), shared=facts)

    def _landmarks(self, features: Artifact) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers over all parts, features and points of the landmarks; lets go of the others."""
        from .algorithms.clustering.sampling import CANDIDATES, choose_landmarks, choose_rows

        candidates = choose_rows(features.rows, CANDIDATES * self.landmarks, self.seed)
        z, points = gather_features(features, candidates)
        chosen = choose_landmarks(points, self.landmarks, self.seed)
        return candidates[chosen], z[chosen], points[chosen]
