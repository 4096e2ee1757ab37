"""The consensus of many k-means: how often two rows share a cell, and its spectrum.

Evidence accumulation (Fred and Jain, 2005) on random subsets, with spectral clustering. The
affinity of two rows is the share of base clusterings that put them into one cell. Any other row
also gets its cells from the centroids, and from these its place among the eigenvectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from scipy import linalg, sparse
from sklearn.cluster import KMeans

from ..threads import map_in_threads
from .convergence import ignoring_convergence
from .kmeans import breathing_kmeans, first_centroids, lloyd, means, nearest
from .spectral import few_distinct, inverse_of_eigenvalues, leading_eigenpairs, spectral_rows

SUBSET = 0.7
"""Share of the rows that a base clustering is fitted to."""
ITERATIONS = 20
"""Iterations of Lloyd's algorithm in a base clustering: clusterings must be many, not good."""
RUNS = 6
"""Runs of k-means whose agreement gives k clusters; eight gave the same accuracy."""
RUN_SUBSET = 0.8
"""Share of the rows that each of these runs is fitted to."""
MOST_CELL = 128
"""Most rows per cell of such a run, on average: larger clusters are not spherical."""
ATTEMPTS = 10
"""How often centroids that have lost all rows are replaced."""
LEAST_CELL = 8
"""Least rows per cell, on average, so that a shared cell means something."""


class Cells(NamedTuple):
    """The cells of all base clusterings, numbered consecutively."""

    centroids: Float32[ndarray, "q p"]
    starts: Int[ndarray, " r1"]
    """The first cell of each base clustering, and q at the end."""


def cell_counts(m: int, k_max: int, clusterings: int) -> list[int]:
    """Number of cells of each base clustering: from k_max/2 to 2 k_max in equal ratios.

    At least 2, and few enough that a cell holds `LEAST_CELL` of `m` rows on average.
    """
    steps = (np.arange(clusterings) + 0.5) / clusterings
    most = max(2, m // LEAST_CELL)
    return [int(np.clip(round(k_max / 2 * 4**step), 2, most)) for step in steps]


def fit_cells(rows: Float32[ndarray, "m p"], counts: list[int], seed: int) -> Cells:
    """Base clusterings of random subsets of the rows, one for each entry of `counts`."""
    m = len(rows)
    generator = np.random.default_rng(seed)
    drawn = []
    for count in counts:
        size = min(m, max(count, round(SUBSET * m)))
        subset = np.sort(generator.choice(m, size, replace=False))
        drawn.append((subset, count, int(generator.integers(2**31))))
    starts = map_in_threads(lambda run: first_centroids(rows[run[0]], *run[1:]), drawn)
    centroids = []
    for start, (chosen, count, _) in zip(starts, drawn, strict=True):
        subset = rows[chosen]
        model = KMeans(count, n_init=1, init=start, max_iter=ITERATIONS)
        with ignoring_convergence():
            # Stopping early is intended, and equal rows leave some cells empty.
            centroids.append(model.fit(subset).cluster_centers_.astype(np.float32))
    return Cells(np.concatenate(centroids), np.cumsum([0, *map(len, centroids)]))


def find_cells(rows: Float32[ndarray, "n p"], cells: Cells) -> Int[ndarray, "n r"]:
    """The nearest cell of every base clustering for each row; the lower number in a tie."""
    # One base clustering at a time: all distances together would need many times the memory.
    bounds = zip(cells.starts[:-1], cells.starts[1:], strict=True)
    return np.stack([nearest(rows, cells.centroids[a:b]) + a for a, b in bounds], axis=1)


class CellLinks(NamedTuple):
    """Averages of the landmarks' tables over the cells of rows."""

    cells: Int[ndarray, "n r"]
    tables: Sequence[Float32[ndarray, "q _"]]

    def average(self, number: int) -> Float32[ndarray, "n e"]:
        """The mean of a table's rows over each row's cells."""
        table = self.tables[number]
        sums = np.zeros((len(self.cells), table.shape[1]), np.float32)
        for column in self.cells.T:
            sums += table[column]
        return sums / np.float32(self.cells.shape[1])

    def confidence(self, number: int, labels: Int[ndarray, " n"]) -> Float32[ndarray, " n"]:
        """Share of a row's cluster among the landmarks of its cells, averaged over the cells.

        The table is a `sharing`.
        """
        return self.tables[number][self.cells, labels[:, None]].mean(axis=1)


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """Affinity of landmarks: the share of base clusterings that put two of them into one cell."""

    cells: Cells
    landmark_cells: Int[ndarray, "m r"]
    """The cells of each landmark."""

    @classmethod
    def empty(cls, m: int) -> "Consensus":
        """The consensus of no clusterings of m landmarks."""
        cells = Cells(np.empty((0, 1), np.float32), np.zeros(1, np.int64))
        return cls(cells=cells, landmark_cells=np.empty((m, 0), np.int64))

    @classmethod
    def fit(cls, points: Float32[ndarray, "m q"], counts: list[int], seed: int) -> "Consensus":
        """Clusters the landmarks once for each of the `counts` of cells."""
        cells = fit_cells(points, counts, seed)
        return cls(cells=cells, landmark_cells=find_cells(points, cells))

    def subset(self, rows: Int[ndarray, " s"]) -> "Consensus":
        """The affinity of some of the landmarks, from the same cells."""
        return Consensus(cells=self.cells, landmark_cells=self.landmark_cells[rows])

    def eigenpairs(
        self, k_max: int, seed: int
    ) -> tuple[Float[ndarray, " k"], Float[ndarray, "m k"]]:
        """Leading eigenpairs of the normalised affinity."""
        incidence = self._incidence()
        affinity = sparse.csr_array(incidence @ incidence.T / self.landmark_cells.shape[1])
        return leading_eigenpairs(affinity, k_max, seed)

    def leading_vectors(self, k: int) -> Float[ndarray, "m k2"]:
        """Leading eigenvectors of the normalised affinity, computed from the cells.

        Cheaper than `eigenpairs` if there are far fewer cells than rows; at most as many as cells.
        """
        incidence = self._incidence()
        degree = incidence @ np.asarray(incidence.sum(0)).ravel()
        normal = sparse.diags_array(1 / np.sqrt(degree)) @ incidence
        gram = (normal.T @ normal).toarray()
        q = len(gram)
        values, vectors = linalg.eigh(gram, subset_by_index=[max(0, q - k), q - 1])
        return normal @ (vectors[:, ::-1] * inverse_of_eigenvalues(values[::-1]) ** 0.5)

    def placing(
        self, values: Float[ndarray, " k"], vectors: Float[ndarray, "m k"]
    ) -> Float32[ndarray, "q k"]:
        """A table whose `average` is a row's place among the eigenvectors, up to its length.

        v_r = d_r^-½ Σ_j a_rj d_j^-½ v_j / λ (Nyström), where a_rj is a sum over the cells of row r.
        """
        incidence = self._incidence()
        degree = np.asarray(incidence.sum(0)).ravel()
        root = 1 / np.sqrt(degree[self.landmark_cells].sum(1))
        table = incidence.T @ (root[:, None] * vectors) * inverse_of_eigenvalues(values)
        return table.astype(np.float32)

    def sharing(self, labels: Int[ndarray, " m"], k: int) -> Float32[ndarray, "q k"]:
        """Share of each cluster among the landmarks of each cell; zeros for an empty cell.

        Its `average` is the share of each cluster in a row's cells.
        """
        members = np.zeros((len(labels), k))
        members[np.arange(len(labels)), labels] = 1
        counts = self._incidence().T @ members
        total = counts.sum(1, keepdims=True)
        shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
        return shares.astype(np.float32)

    def reach(self, points: Float32[ndarray, "n q"]) -> Int[ndarray, "n r"]:
        """The cells of rows, which `links` takes; the same for every subset."""
        return find_cells(points, self.cells)

    def links(
        self,
        reached: Int[ndarray, "n r"],
        tables: Sequence[Float32[ndarray, "cells _"]],
    ) -> "CellLinks":
        """The links of rows to the tables through their cells."""
        return CellLinks(reached, tables)

    def _incidence(self) -> sparse.csr_array:
        m, clusterings = self.landmark_cells.shape
        starts = np.arange(0, m * clusterings + 1, clusterings)
        ones = np.ones(m * clusterings)
        shape = (m, len(self.cells.centroids))
        return sparse.csr_array((ones, self.landmark_cells.ravel(), starts), shape=shape)


def cluster_points(points: Float32[ndarray, "m q"], k: int, seed: int) -> Float32[ndarray, "k2 q"]:
    """Centroids of k clusters on which several runs of k-means agree.

    Each run is a breathing k-means on a random subset of the rows. Spectral clustering of their
    consensus gives the clusters, which Lloyd's algorithm refines. No cluster is empty; there are
    fewer than k only if there are fewer distinct rows.
    """
    m = len(points)
    distinct, _ = few_distinct(points, k)
    if distinct is not None:
        return distinct
    generator = np.random.default_rng(seed)
    size, count = max(k, round(RUN_SUBSET * m)), max(k, m // MOST_CELL)
    drawn = [
        (np.sort(generator.choice(m, size, replace=False)), int(generator.integers(2**31)))
        for _ in range(RUNS if k > 1 else 1)
    ]
    runs = list(map_in_threads(lambda run: breathing_kmeans(points[run[0]], count, run[1]), drawn))
    cells = Cells(np.concatenate(runs), np.cumsum([0, *map(len, runs)]))
    agreement = Consensus(cells=cells, landmark_cells=find_cells(points, cells))
    rows = spectral_rows(agreement.leading_vectors(k), k)
    labels = nearest(rows, breathing_kmeans(rows, k, seed))
    none = np.zeros((int(labels.max()) + 1, points.shape[1]), np.float32)
    return _settle(points, means(points, labels, none), k)


def _settle(points: ndarray, centroids: ndarray, k: int) -> Float32[ndarray, "k q"]:
    """Centroids by Lloyd's algorithm; far rows replace missing centroids and those without rows."""
    for _ in range(ATTEMPTS):
        centroids, _ = lloyd(points, centroids)
        labels = nearest(points, centroids)
        centroids = centroids[np.bincount(labels, minlength=len(centroids)) > 0]
        if len(centroids) == k:
            return centroids
        distance = ((points - centroids[nearest(points, centroids)]) ** 2).sum(1)
        far = np.argsort(-distance, kind="stable")[: k - len(centroids)]
        centroids = np.concatenate([centroids, points[far]])
    return centroids[np.bincount(nearest(points, centroids), minlength=len(centroids)) > 0]
