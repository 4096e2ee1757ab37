"""Features and embeddings in, a spectrum out: leading eigenvectors of the landmarks' affinity."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import SPECTRUM, Kind
from .algorithms.training_config import LARGEST, LEAST_TEMPERATURE
from .contract import Inputs, Part, Runtime, Stage
from .rows.landmarks import gather_embeddings, gather_features, to_tensors


@dataclass(frozen=True, kw_only=True)
class Spectrum(Stage):
    """Computes the spectral embedding of landmarks, from which that of any other row follows.

    Landmarks are representative rows. Their affinity is the paper's membership, or the consensus:
    how often base clusterings put two of them into one cell (`algorithms.clustering`). On real
    embeddings the consensus gave better clusters; only the membership can see unions of subspaces,
    which the theory assumes. `auto` takes the one that makes the shorter code:
    docs/what-we-learned.md.
    """

    name: ClassVar[str] = "spectrum"
    kind: ClassVar[Kind] = SPECTRUM
    revision: ClassVar[int] = 5

    landmarks: int = 10_000
    """Number of landmarks, at most; drawn so that rare groups are represented."""
    affinity: Literal["auto", "consensus", "membership"] = "auto"
    """Similarity of landmarks: how often several k-means put two of them together (`consensus`), or
    the paper's `membership`. `auto` takes the one with the shorter code."""
    clusterings: int = 24
    """Base clusterings of the consensus."""
    eta: float = 0.1
    """Temperature of the membership: the lowest of the paper's, which separates most clusters."""
    k_max: int = 0
    """Eigenvectors to keep; 0 chooses by the number of rows."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.require_at_least(landmarks=2, clusterings=1, k_max=0, seed=0)
        self.require_between("eta", LEAST_TEMPERATURE, LARGEST)

    @property
    def needs(self) -> tuple[str, ...]:
        """The refined features, and the embeddings, which show what pieces form one cluster."""
        return ("features", "embeddings")

    def eigenvectors(self, rows: int) -> int:
        """How many eigenvectors to keep for this many rows."""
        from .algorithms.clustering.k_max import usual_k_max

        return min(self.k_max or usual_k_max(rows, self.landmarks), rows, self.landmarks)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Chooses landmarks, computes their affinity, and keeps its leading eigenpairs."""
        from safetensors.numpy import save_file

        from .algorithms.clustering.consensus import Consensus
        from .algorithms.clustering.landmarks import fit_landmarks

        features = inputs["features"]
        if features.rows < 2:
            raise ConfigError(f"clustering needs at least 2 rows, got {features.rows}")
        runtime.progress.start("spectrum", 1, "spectrum")
        rows, z, points = self._landmarks(features, runtime)
        landmarks = fit_landmarks(
            points,
            z,
            gather_embeddings(inputs["embeddings"], rows, draw=runtime.draw),
            affinity=self.affinity,
            k_max=self.eigenvectors(features.rows),
            clusterings=self.clusterings,
            eta=self.eta,
            seed=self.seed,
            device=runtime.device,
        )
        affinity = "consensus" if isinstance(landmarks.affinity, Consensus) else "membership"
        save_file(to_tensors(landmarks, rows), scratch.path("tensors"))
        runtime.progress.advance(1)
        facts = {
            "k_max": len(landmarks.values),
            "affinity": affinity,
            "rows_in_all": features.rows,
        }
        return Product(rows=len(rows), shared=facts)

    def _landmarks(
        self, features: Artifact, runtime: Runtime
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row numbers over all parts, features and points of the landmarks."""
        from .algorithms.clustering.sampling import CANDIDATES, choose_landmarks, choose_rows

        candidates = choose_rows(features.rows, CANDIDATES * self.landmarks, self.seed)
        z, points = gather_features(features, candidates, draw=runtime.draw)
        chosen = choose_landmarks(points, self.landmarks, self.seed)
        return candidates[chosen], z[chosen], points[chosen]
