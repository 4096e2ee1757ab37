"""The paper's affinity of landmarks: the doubly stochastic membership, extended to other rows.

Π among landmarks is that of arXiv 2306.05272 (`algorithms.sinkhorn`, run to convergence). The
paper's code computes it for one batch and labels no other rows. Here any other row gets memberships
to the landmarks from their potentials, and from these its place among the eigenvectors (Nyström).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from torch import Tensor

from ..sinkhorn import potentials
from ..symmetric import full_precision
from .krylov import leading_pairs
from .spectral import inverse_of_eigenvalues

SAME = 1 - 2e-3
"""Similarity from which a row and a landmark count as the same; both are rounded to float16."""
BLOCK_ROWS = 1024
"""Rows whose memberships are computed at once, on a CPU."""
BLOCK_LANDMARKS = 512
"""Landmarks of such a block, on a CPU. A block of 2 MiB stays in the cache while eight steps read
it: all memberships of a row at once took three times as long."""
BLOCK_ON_GPU = 8192
"""Rows, and landmarks, of a block on a GPU, where starting a step costs more than memory does."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """Averages of the landmarks' tables by the memberships of rows, which are not kept."""

    tables: Sequence[Float32[ndarray, "m _"]]
    averages: Sequence[Float32[ndarray, "n _"]]
    """For each table, its rows averaged with weights Π_rj."""
    itself: Int[ndarray, " n"]
    """The landmark that equals the row; −1 for none."""
    weight: Float32[ndarray, " n"]
    """The membership to it; 0 for none."""

    def average(self, number: int) -> Float32[ndarray, "n e"]:
        """The rows of a table averaged with weights Π_rj."""
        return self.averages[number]

    def confidence(self, number: int, labels: Int[ndarray, " n"]) -> Float32[ndarray, " n"]:
        """1 − (mean link to the next cluster) / (mean link to the own), over their landmarks.

        The table is a `sharing`. 0 if another cluster is linked as closely, 1 if no other is
        linked. A landmark's link to itself does not count: it would make landmarks more confident
        than other rows.
        """
        sharing, closeness = self.tables[number], self.averages[number].copy()
        rows = np.flatnonzero(self.itself >= 0)
        closeness[rows] -= self.weight[rows, None] * sharing[self.itself[rows]]
        # Rounding can make it negative.
        closeness = np.maximum(closeness, 0) / np.maximum(sharing.sum(0), 1)
        every = np.arange(len(labels))
        own = closeness[every, labels]
        closeness[every, labels] = 0
        ratio = np.divide(closeness.max(1), own, out=np.ones_like(own), where=own > 0)
        return np.clip(1 - ratio, 0, 1)


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

    def reach(self, points: Float32[ndarray, "n q"]) -> Float32[ndarray, "n q"]:
        """The points, which `links` takes: each subset of landmarks has links of its own."""
        return points

    def links(
        self, points: Float32[ndarray, "n q"], tables: Sequence[Float32[ndarray, "m _"]]
    ) -> Links:
        """The links of rows to the tables of the landmarks; a row's memberships sum to one."""
        wide = np.concatenate([np.ones((len(self.points), 1), np.float32), *tables], axis=1)
        is_gpu = torch.device(self.device).type != "cpu"
        step, width = (BLOCK_ON_GPU, BLOCK_ON_GPU) if is_gpu else (BLOCK_ROWS, BLOCK_LANDMARKS)
        blocks = _Blocks.of(self, wide, width)
        averages = np.empty((len(points), wide.shape[1] - 1), np.float32)
        itself, weight = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
        for start in range(0, len(points), step):
            block = slice(start, start + step)
            rows = torch.from_numpy(points[block]).to(self.device)
            with torch.no_grad(), full_precision(rows.device):
                linked = blocks.averages(rows)
                averages[block] = linked.averages.cpu().numpy()
                itself[block] = linked.itself.cpu().numpy()
                weight[block] = linked.weight.cpu().numpy()
        ends = np.cumsum([table.shape[1] for table in tables])[:-1]
        return Links(
            tables=tables,
            averages=np.split(averages, ends, axis=1),
            itself=itself,
            weight=weight,
        )


class _Averages(NamedTuple):
    averages: Tensor
    itself: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """Landmarks in blocks: one pass over them gives averages without all memberships of a row."""

    points: Float32[Tensor, "q m"]
    """Points over η."""
    u: Float32[Tensor, " m"]
    """Potentials over η."""
    table: Float32[Tensor, "m e1"]
    """A column of ones, which sums the weights, and the tables."""
    same: float
    """Product from which a row and a landmark count as the same."""
    width: int

    @classmethod
    def of(cls, affinity: Memberships, table: Float32[ndarray, "m e1"], width: int) -> "_Blocks":
        device, eta = affinity.device, affinity.eta
        return cls(
            points=(torch.from_numpy(affinity.points).to(device) / eta).mT.contiguous(),
            u=torch.from_numpy(affinity.potentials).to(device) / eta,
            table=torch.from_numpy(table).to(device),
            same=SAME / eta,
            width=width,
        )

    def averages(self, rows: Float32[Tensor, "n q"]) -> _Averages:
        """Sums of exp(|p_r·p_j|/η + u_j/η − t_r), where t_r is the largest exponent so far."""
        n, m = len(rows), len(self.u)
        sums = rows.new_zeros(n, self.table.shape[1])
        top = rows.new_full((n, 1), -torch.inf)
        nearest, weight = rows.new_zeros(n), rows.new_zeros(n)
        itself = torch.full((n,), -1, device=rows.device)
        buffer = rows.new_empty(n * min(self.width, m))
        for start in range(0, m, self.width):
            block = slice(start, min(start + self.width, m))
            links = buffer[: n * (block.stop - start)].view(n, -1)
            torch.mm(rows, self.points[:, block], out=links)
            largest = links.abs_().amax(1)
            same = ((largest >= self.same) & (largest > nearest)).nonzero()[:, 0]
            at = links[same].argmax(1)
            nearest = torch.maximum(nearest, largest)
            higher = torch.maximum(top, links.add_(self.u[block]).amax(1, keepdim=True))
            scale = (top - higher).exp_()
            top = higher
            links.sub_(higher).exp_()
            sums.mul_(scale).addmm_(links, self.table[block])
            # Exactly its part in the sums, so that subtracting it leaves nothing.
            weight.mul_(scale[:, 0])[same] = links[same, at]
            itself[same] = at + start
        return _Averages(sums[:, 1:] / sums[:, :1], itself, weight / sums[:, 0])
