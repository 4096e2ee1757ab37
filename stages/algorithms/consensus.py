"""A consensus of many k-means: how often two rows fall together, and the spectrum of that.

Evidence accumulation (Fred and Jain, 2005) on random subsets, read off spectrally. The affinity of
two rows is the share of the base clusterings that put them into one cell. Any other row has its
cells too, from the centroids alone, and so its place among the eigenvectors.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from .spectral import NO_EIGENVALUE, leading_eigenpairs

SUBSET = 0.7
"""Share of the rows that a base clustering is fitted on."""
ITERATIONS = 20
"""Of Lloyd's algorithm for a base clustering: they need not be good, only many."""
LEAST_CELL = 8
"""Rows that a cell holds on average at least, so that a cell means something."""


class Cells(NamedTuple):
    """The cells of all base clusterings, numbered through."""

    centroids: Float32[ndarray, "q p"]
    starts: Int[ndarray, " r1"]
    """Where each base clustering's cells begin, and q at the end."""


class Map(NamedTuple):
    """What turns the cells of a row into its place among the eigenvectors."""

    degree: Float[ndarray, " q"]
    """What a cell adds to a row's degree: its share of landmarks."""
    place: Float[ndarray, "q k"]


def cell_counts(m: int, k_max: int, clusterings: int) -> list[int]:
    """How many cells each base clustering has: from k_max/2 to 2 k_max in equal ratios.

    Never so many that a cell would hold fewer than `LEAST_CELL` of `m` rows, and at least 2.
    """
    steps = (np.arange(clusterings) + 0.5) / clusterings
    most = max(2, m // LEAST_CELL)
    return [int(np.clip(round(k_max / 2 * 4**step), 2, most)) for step in steps]


def fit_cells(rows: Float32[ndarray, "m p"], counts: list[int], seed: int) -> Cells:
    """Base clusterings of random subsets of the rows, one for each entry of `counts`."""
    m = len(rows)
    generator = np.random.default_rng(seed)
    centroids = []
    for count in counts:
        size = min(m, max(count, round(SUBSET * m)))
        subset = rows[np.sort(generator.choice(m, size, replace=False))]
        state = int(generator.integers(2**31))
        model = KMeans(count, n_init=1, max_iter=ITERATIONS, random_state=state)
        with warnings.catch_warnings():
            # Stopping early is meant, and equal rows leave some cells empty.
            warnings.simplefilter("ignore", ConvergenceWarning)
            centroids.append(model.fit(subset).cluster_centers_.astype(np.float32))
    starts = np.cumsum([0, *map(len, centroids)])
    return Cells(np.concatenate(centroids), starts)


def find_cells(rows: Float32[ndarray, "n p"], cells: Cells) -> Int[ndarray, "n r"]:
    """The nearest cell of every base clustering for each row; ties go to the lower number."""
    lengths = (cells.centroids**2).sum(1)
    found = []
    for a, b in zip(cells.starts[:-1], cells.starts[1:], strict=True):
        # One base clustering at a time: all distances together would be many times the rows.
        distance = lengths[a:b] - 2 * rows @ cells.centroids[a:b].T
        found.append(distance.argmin(1) + a)
    return np.stack(found, axis=1)


def consensus_eigenpairs(
    found: Int[ndarray, "m r"], cells: int, k_max: int, seed: int
) -> tuple[Float[ndarray, " k"], Float[ndarray, "m k"]]:
    """Leading eigenpairs of the normalised affinity of rows, from the cells of each."""
    incidence = _incidence(found, cells)
    affinity = sparse.csr_array(incidence @ incidence.T / found.shape[1])
    return leading_eigenpairs(affinity, k_max, seed)


def extension(
    found: Int[ndarray, "m r"],
    cells: int,
    values: Float[ndarray, " k"],
    vectors: Float[ndarray, "m k"],
) -> Map:
    """What places any row: for the rows of the eigenvectors themselves it gives these back.

    v_r = d_r^-½ Σ_j a_rj d_j^-½ v_j / λ (Nyström), where a_rj is a sum over the cells of row r.
    """
    incidence = _incidence(found, cells)
    degree = np.asarray(incidence.sum(0)).ravel() / found.shape[1]
    root = 1 / np.sqrt(degree[found].sum(1))
    away = np.abs(values) > NO_EIGENVALUE
    inverse = np.divide(1.0, values, out=np.zeros(len(values)), where=away)
    return Map(degree, incidence.T @ (root[:, None] * vectors) * inverse / found.shape[1])


def place(found: Int[ndarray, "n r"], to: Map) -> Float[ndarray, "n k"]:
    """Entries of the eigenvectors for rows, from the cells of each."""
    degree = to.degree[found].sum(1)
    root = np.divide(1.0, np.sqrt(degree), out=np.zeros(len(degree)), where=degree > 0)
    sums = np.zeros((len(found), to.place.shape[1]))
    for column in found.T:
        sums += to.place[column]
    return root[:, None] * sums


def agreement(
    found: Int[ndarray, "m r"], cells: int, labels: Int[ndarray, " m"], k: int
) -> Float32[ndarray, "q k"]:
    """For each cell the share of its rows that each cluster has; zeros for an empty cell."""
    incidence = _incidence(found, cells)
    members = np.zeros((len(labels), k))
    members[np.arange(len(labels)), labels] = 1
    counts = incidence.T @ members
    total = counts.sum(1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0).astype(np.float32)


def _incidence(found: Int[ndarray, "m r"], cells: int) -> sparse.csr_array:
    m, clusterings = found.shape
    starts = np.arange(0, m * clusterings + 1, clusterings)
    return sparse.csr_array((np.ones(m * clusterings), found.ravel(), starts), shape=(m, cells))
