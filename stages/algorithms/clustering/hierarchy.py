"""Levels of ever fewer clusters, each nested in the next coarser one, by the coding length.

Again and again, the two clusters are merged whose merging lengthens the code least: agglomerative
lossy coding (Ma, Derksen, Hong and Wright, "Segmentation of Multivariate Mixed Data via Lossy Data
Coding and Compression", IEEE TPAMI 2007, pairwise steepest descent), with the length of arXiv
2306.05272. Where we differ: we start at clusters, not at single rows; second moments stand for
rows, and a sample of these for all; of each cluster only the nearest others are tried.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from ....store.errors import NumericError
from ..coding_length import Moments
from ..symmetric import LEAF, full_precision, inverse_factor_, log_determinant

NEIGHBOURS = 48
CHUNK = 1 << 21
"""Numbers in the matrices whose determinants are found together: 8 MiB, which a cache holds.
Microseconds for each matrix of order 128 on a core: 52 in chunks of 8 MiB, 107 of 64 MiB."""


class Merging(NamedTuple):
    """Two nodes become one. The leaves are the nodes 0, 1, …; each merging makes the next."""

    parent: int
    left: int
    """The lower of the two."""
    right: int
    length: float
    """Nats of the level that is left."""


class Hierarchy(NamedTuple):
    """All levels, from the leaves to one cluster."""

    finest_length: float
    """Nats of the leaves."""
    mergings: tuple[Merging, ...]


def build_hierarchy(
    moments: Moments, *, eps_sq: float, total: int, neighbours: int = NEIGHBOURS
) -> Hierarchy:
    """Merges the clusters of the moments, the leaves, until one is left.

    The moments stand for those of `total` rows with the same shares and mean moments. Each new
    cluster is tried with its `neighbours` nearest only; all pairs are tried where no cluster has
    more others. Empty leaves cost nothing and are merged first, into the first that is not empty.
    Ties go to the lowest nodes. Raises NumericError where a moment is not finite.
    """
    leaves = len(moments.counts)
    counts = moments.counts.cpu().numpy()
    order = np.argsort(counts == 0, kind="stable")
    clusters = _Clusters(moments, order[: max(1, np.count_nonzero(counts))], eps_sq, total)
    finest = clusters.length
    mergings: list[Merging] = []
    node = order.copy()  # of each slot

    def note(slot: int, gone: int) -> None:
        left, right = sorted((int(node[slot]), int(node[gone])))
        node[slot] = leaves + len(mergings)
        mergings.append(Merging(int(node[slot]), left, right, clusters.length))

    for empty in range(len(clusters.held), leaves):
        note(0, empty)
    clusters.link_all(neighbours)
    while len(mergings) < leaves - 1:
        ties = np.argwhere(clusters.changes == clusters.changes.min())
        slot, gone = min(ties.tolist(), key=lambda pair: sorted(node[pair]))
        clusters.merge(slot, gone)
        note(slot, gone)
        clusters.link(slot, neighbours)
    return Hierarchy(finest, tuple(mergings))


def lengths_by_level(hierarchy: Hierarchy) -> Float[ndarray, " leaves"]:
    """Nats of the levels of 1, 2, … clusters."""
    lengths = [hierarchy.finest_length, *(merging.length for merging in hierarchy.mergings)]
    return np.array(lengths[::-1])


def shortest_level(hierarchy: Hierarchy) -> int:
    """How many clusters the level with the least length has; the fewest of equals."""
    return int(lengths_by_level(hierarchy).argmin()) + 1


def cut(
    left: Int[ndarray, " merges"], right: Int[ndarray, " merges"], level: int
) -> Int[ndarray, " leaves"]:
    """The cluster of each leaf at the level of that many, numbered in order of first appearance."""
    leaves = len(left) + 1
    assert 1 <= level <= leaves, f"level {level}; there are 1 to {leaves}"
    root = np.arange(2 * leaves - level)
    for parent in range(len(root) - 1, leaves - 1, -1):
        merging = parent - leaves
        root[[left[merging], right[merging]]] = root[parent]
    _, first, found = np.unique(root[:leaves], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[found]

UNION=False
MODE='both'
class _Clusters:
    """The clusters that are left, each in the slot of a leaf that it holds; a gone one holds 0."""

    def __init__(self, moments: Moments, leaves: ndarray, eps_sq: float, total: int) -> None:
        slots = torch.from_numpy(leaves).to(moments.second.device)
        self.second = moments.second[slots].double()
        self.held = moments.counts[slots].double().cpu().numpy()
        self.eps_sq = eps_sq
        self.p = self.second.shape[-1]
        self.n = max(1.0, self.held.sum())
        self.rows_each = total / self.n  # that a row of the sample stands for
        flat = self.second.flatten(1)
        self.products = (flat @ flat.mT).cpu().numpy()  # tr(S_a S_b)
        k = len(leaves)
        self.changes = np.full((k, k), np.inf)
        each = [self._rates(self.second[i:i+1].clone(), self.held[i : i + 1]) for i in range(k)]
        self.rates = np.concatenate(each)
        self.lengths = self._lengths(self.rates, self.held)

    @property
    def length(self) -> float:
        return float(self.lengths.sum())

    def merge(self, slot: int, gone: int) -> None:
        """Adds one cluster to another and forgets what either's mergings would change."""
        self.second[slot] += self.second[gone]
        self.products[slot] += self.products[gone]
        self.products[:, slot] += self.products[:, gone]
        self.held[slot] += self.held[gone]
        self.held[gone] = self.lengths[gone] = 0
        lin = np.isfinite(self.changes[slot]) | np.isfinite(self.changes[gone])
        lin[[slot, gone]] = False
        self.linked = np.flatnonzero(lin)
        for one in (slot, gone):
            self.changes[one] = self.changes[:, one] = np.inf
        part = slice(slot, slot + 1)
        self.rates[part] = self._rates(self.second[part].clone(), self.held[part])
        self.lengths[part] = self._lengths(self.rates[part], self.held[part])

    def link_all(self, neighbours):
        self.linked = np.zeros(0, int)
        for i in range(len(self.held)):
            self.link(i, neighbours)

    def link(self, slot: int, neighbours: int) -> None:
        """Finds what merging a cluster with its nearest would change."""
        others = self._nearest(slot, neighbours)
        if UNION: others = np.union1d(others, self.linked)
        others = others[np.isinf(self.changes[slot, others])]
        for part in np.array_split(others, -(-len(others) * self.p**2 // CHUNK)) if len(others) else []:
            held = self.held[part] + self.held[slot]
            both = self.second[torch.from_numpy(part)].add_(self.second[slot]).float()
            lengths = self._lengths(self._rates(both, held), held)
            change = lengths - self.lengths[part] - self.lengths[slot]
            self.changes[slot, part] = self.changes[part, slot] = change

    def _nearest(self, slot: int, neighbours: int) -> ndarray:
        others = np.flatnonzero(self.held)
        others = others[others != slot]
        if len(others) <= neighbours:
            return others
        norm = np.sqrt(np.diag(self.products))
        cosine = self.products[slot, others] / (norm[slot] * norm[others])
        held = self.held[slot] + self.held[others]
        share = self.held[others] / held
        far = 1 - cosine
        rate = (1 - share + share * far) * self.rates[slot] + (share + (1 - share) * far) * self.rates[others]
        change = self._lengths(rate, held) - self.lengths[others]
        a=np.argsort(np.argsort(far, kind="stable")); b=np.argsort(np.argsort(change, kind="stable"))
        rank = {'both':np.minimum(a,b),'cos':a,'est':b}[MODE]
        return np.sort(others[np.argsort(rank, kind="stable")[:neighbours]])

    def _lengths(self, rates: ndarray, held: ndarray) -> ndarray:
        rows = self.rows_each * held
        return (rows + self.p) / 2 * rates - rows * np.log(np.maximum(held, 1) / self.n)

    def _rates(self, second: Tensor, held: ndarray) -> ndarray:
        """ln det(I + p/(m ε²) S), overwriting."""
        factor = self.p / (np.maximum(held, 1) * self.eps_sq)
        second.mul_(torch.from_numpy(factor).to(second)[:, None, None])
        second.diagonal(dim1=-2, dim2=-1).add_(1)
        with full_precision(second.device):
            return _log_determinant_(second).cpu().numpy()


def _log_determinant_(a: Float[Tensor, "c p p"]) -> Float[Tensor, " c"]:
    p = a.shape[-1]
    if p <= LEAF:
        return log_determinant(a)
    h = p // 2
    top, below, low = a[:, :h, :h], a[:, h:, :h], a[:, h:, h:]
    logdet = inverse_factor_(top)
    left = below @ top.mT
    low.sub_(left @ left.mT)
    return logdet + _log_determinant_(low)
