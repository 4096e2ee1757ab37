"""The paper's affinity of landmarks: the doubly stochastic membership, extended to other rows.

Π among landmarks is that of arXiv 2306.05272 (`algorithms.sinkhorn`, run to convergence). The
paper's code computes it for one batch and labels no other rows. Here any other row gets memberships
to the landmarks from their potentials, and from these its place among the eigenvectors (Nyström).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray

from ..sinkhorn import potentials
from ..symmetric import full_precision
from .krylov import leading_pairs
from .spectral import inverse_of_eigenvalues

SAME = 1 - 2e-3
"""Similarity from which a row and a landmark count as the same; both are rounded to float16."""
LINKS = 1 << 24
"""Memberships held at once: 64 MiB."""


class Links(NamedTuple):
    """The links of rows to the landmarks."""

    weights: Float32[ndarray, "n m"]
    """Memberships: each row sums to one."""
    itself: Int[ndarray, " n"]
    """The landmark that equals the row, −1 for none."""


@dataclass(frozen=True, kw_only=True)
class Memberships:
    """Affinity of landmarks: Π_ij = m exp((|p_i·p_j| + u_i + u_j)/η)."""

    points: Float32[ndarray, "m q"]
    """Unit rows."""
    potentials: Float32[ndarray, " m"]
    """u, for which rows and columns of Π sum to one."""
    eta: float
    device: str = "cpu"

    @classmethod
    def fit(cls, points: Float32[ndarray, "m q"], *, eta: float, device: str) -> "Memberships":
        """Computes the potentials; holds two matrices of m² numbers."""
        rows = torch.from_numpy(points).to(device)
        with torch.no_grad(), full_precision(rows.device):
            similarity = (rows @ rows.mT).abs_()
            u = potentials(similarity, eta=eta, tolerance=1e-4)
        return cls(points=points, potentials=u.cpu().numpy(), eta=eta, device=device)

    @property
    def block_rows(self) -> int:
        """Rows whose links are computed at once."""
        return max(1, LINKS // max(1, len(self.points)))

    def subset(self, rows: Int[ndarray, " s"]) -> "Memberships":
        """The affinity of some of the landmarks."""
        return Memberships.fit(self.points[rows], eta=self.eta, device=self.device)

    def eigenpairs(
        self, k_max: int, seed: int
    ) -> tuple[Float32[ndarray, " k"], Float32[ndarray, "m k"]]:
        """Leading eigenpairs of Π, which is already normalised."""
        rows = torch.from_numpy(self.points).to(self.device)
        u = torch.from_numpy(self.potentials).to(self.device)
        with torch.no_grad(), full_precision(rows.device):
            pi = (rows @ rows.mT).abs_()
            pi.add_(u[:, None]).add_(u).div_(self.eta).add_(float(np.log(len(u)))).exp_()
            values, vectors = leading_pairs(pi, k_max, seed)
        return values.cpu().numpy(), vectors.cpu().numpy()

    def placing(
        self, values: Float32[ndarray, " k"], vectors: Float32[ndarray, "m k"]
    ) -> Float32[ndarray, "m k"]:
        """A table whose `average` is a row's place among the eigenvectors, up to its length."""
        return vectors * inverse_of_eigenvalues(values).astype(np.float32)

    def sharing(self, labels: Int[ndarray, " m"], k: int) -> Float32[ndarray, "m k"]:
        """A table whose `average` is the share of each cluster in a row's links."""
        return np.eye(k, dtype=np.float32)[labels]

    def links(self, points: Float32[ndarray, "n q"]) -> Links:
        """Memberships of rows to the landmarks."""
        rows = torch.from_numpy(points).to(self.device)
        landmarks = torch.from_numpy(self.points).to(self.device)
        u = torch.from_numpy(self.potentials).to(self.device)
        with full_precision(rows.device):
            similarity = (rows @ landmarks.mT).abs_()
        largest, nearest = similarity.max(1)
        weights = torch.softmax(similarity.add_(u).div_(self.eta), 1)
        itself = torch.where(largest >= SAME, nearest, -1)
        return Links(weights.cpu().numpy(), itself.cpu().numpy())

    def average(self, links: Links, table: Float32[ndarray, "m e"]) -> Float32[ndarray, "n e"]:
        """Σ_j Π_rj of the table's rows."""
        weights = torch.from_numpy(links.weights).to(self.device)
        with full_precision(weights.device):
            return (weights @ torch.from_numpy(table).to(self.device)).cpu().numpy()

    def confidence(
        self, links: Links, sharing: Float32[ndarray, "m k"], labels: Int[ndarray, " n"]
    ) -> Float32[ndarray, " n"]:
        """1 − (mean link to the next cluster) / (mean link to the own), over their landmarks.

        0 where another cluster is linked as closely, 1 where no other is linked. A landmark's link
        to itself does not count: it would make landmarks more confident than other rows.
        """
        closeness = self.average(links, sharing)
        rows = np.flatnonzero(links.itself >= 0)
        itself = links.itself[rows]
        closeness[rows] -= links.weights[rows, itself, None] * sharing[itself]
        # Rounding can make it negative.
        closeness = np.maximum(closeness, 0) / np.maximum(sharing.sum(0), 1)
        every = np.arange(len(labels))
        own = closeness[every, labels]
        closeness[every, labels] = 0
        ratio = np.divide(closeness.max(1), own, out=np.ones_like(own), where=own > 0)
        return np.clip(1 - ratio, 0, 1)
