import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering import consensus
from cpp_pipe.stages.algorithms.clustering.consensus import CellLinks, Cells, Consensus
from cpp_pipe.stages.algorithms.clustering.spectral import cluster_rows, spectral_rows
from cpp_pipe.stages.algorithms.metrics import accuracy

from ....strategies import seeds
from .planted import planted_directions

Pairs = tuple[np.ndarray, np.ndarray]
"""Eigenvalues and eigenvectors."""


def linked_by(found: np.ndarray, cells: int) -> Consensus:
    """Landmarks in given cells, without real centroids."""
    starts = np.arange(found.shape[1] + 1)
    return Consensus(cells=Cells(np.zeros((cells, 1), np.float32), starts), landmark_cells=found)


def random_cells(m: int, r: int, seed: int) -> np.ndarray:
    """The cells of m landmarks in r clusterings of four cells each."""
    return np.random.default_rng(seed).integers(0, 4, (m, r)) + 4 * np.arange(r)


@given(st.integers(2, 5000), st.integers(1, 500), st.integers(1, 30))
def test_cells_hold_enough_rows(m: int, k_max: int, clusterings: int) -> None:
    counts = consensus.cell_counts(m, k_max, clusterings)
    assert len(counts) == clusterings
    assert counts == sorted(counts)
    assert all(2 <= count <= max(2, m // consensus.LEAST_CELL, 2 * k_max) for count in counts)
    assert max(counts) <= max(2, m // consensus.LEAST_CELL)


def test_a_row_s_cell_is_the_nearest_of_each_base_clustering() -> None:
    rows, _ = planted_directions(4, 20, 0.8)
    affinity = Consensus.fit(rows, [3, 5], 0)
    cells = affinity.cells
    assert cells.starts.tolist() == [0, 3, 8]
    distance = np.linalg.norm(rows[:, None] - cells.centroids, axis=2)
    assert np.array_equal(affinity.landmark_cells[:, 0], distance[:, :3].argmin(1))
    assert np.array_equal(affinity.landmark_cells[:, 1], distance[:, 3:].argmin(1) + 3)
    assert np.array_equal(affinity.reach(rows), affinity.landmark_cells)


def test_the_affinity_is_the_share_of_clusterings_that_agree() -> None:
    found = np.array([[0, 2], [0, 3], [1, 3], [1, 2]])
    together = (found[:, None] == found).mean(2)
    degrees = together.sum(1)
    expected = np.linalg.eigvalsh(together / np.sqrt(np.outer(degrees, degrees)))[::-1]
    values, _ = linked_by(found, 4).eigenpairs(4, 0)
    np.testing.assert_allclose(values, expected, atol=1e-12)


def check_places(
    affinity: Consensus, links: np.ndarray, pairs: Pairs, expected: np.ndarray
) -> None:
    """Compares unit rows of the places with the expected ones; lengths do not matter."""
    table = affinity.placing(*pairs)
    placed = CellLinks(links, [table]).average(0)
    k = placed.shape[1]
    # A row is a mean over float32 entries of the table, divided by its length.
    rounding = 8 * np.finfo(np.float32).eps * np.abs(table[links]).max((1, 2))
    there = np.linalg.norm(expected, axis=1) > 1e-6
    error = np.abs(spectral_rows(placed, k) - spectral_rows(expected, k)).max(1)
    allowed = rounding[there] / np.linalg.norm(placed[there], axis=1) + 1e-8
    assert (error[there] <= allowed).all()


def pairs_to_extend(affinity: Consensus) -> Pairs:
    """Eigenpairs whose extension is not dominated by rounding."""
    values, vectors = affinity.eigenpairs(6, 0)
    kept = int((values > 1e-3).sum())
    return values[:kept], vectors[:, :kept]


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(1, 5), seeds)
def test_the_extension_keeps_the_places_of_landmarks(m: int, r: int, seed: int) -> None:
    affinity = linked_by(random_cells(m, r, seed), 4 * r)
    values, vectors = pairs_to_extend(affinity)
    check_places(affinity, affinity.landmark_cells, (values, vectors), vectors)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(1, 5), seeds)
def test_a_row_is_placed_by_its_affinity_to_every_landmark(m: int, r: int, seed: int) -> None:
    affinity = linked_by(random_cells(m, r, seed), 4 * r)
    values, vectors = pairs_to_extend(affinity)
    rows = random_cells(7, r, seed + 1)
    degrees = (affinity.landmark_cells[:, None] == affinity.landmark_cells).mean(2).sum(1)
    to_rows = (rows[:, None] == affinity.landmark_cells).mean(2)
    expected = (to_rows / np.sqrt(degrees)) @ vectors / values
    check_places(affinity, rows, (values, vectors), expected)


def test_a_cell_without_landmarks_has_no_place() -> None:
    affinity = linked_by(np.array([[0], [1], [0]]), 3)
    table = affinity.placing(*affinity.eigenpairs(2, 0))
    lonely = np.array([[2]])
    assert (CellLinks(lonely, [table]).average(0) == 0).all()
    sharing = affinity.sharing(np.zeros(3, np.int64), 1)
    assert (sharing[2] == 0).all()
    assert CellLinks(lonely, [sharing]).confidence(0, np.zeros(1, np.int64)).tolist() == [0]


def test_planted_clusters_are_found_and_other_rows_follow() -> None:
    rows, labels = planted_directions(6, 60, 0.7)
    affinity = Consensus.fit(rows[:240], [8, 10, 12, 14], 0)
    values, vectors = affinity.eigenpairs(8, 0)
    clusters, centroids = cluster_rows(spectral_rows(vectors, 6), 6, 0, 5)
    links = affinity.links(affinity.reach(rows[240:]), [affinity.placing(values, vectors)])
    places = spectral_rows(links.average(0), 6)
    nearest = np.linalg.norm(places[:, None] - centroids, axis=2).argmin(1)
    assert accuracy(labels, np.concatenate([clusters, nearest])) == 1
    shares = affinity.sharing(clusters, 6)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)


@given(st.integers(2, 30), st.integers(1, 5), st.integers(1, 4), seeds)
def test_confidence_is_the_share_of_cell_mates_in_the_cluster(
    m: int, r: int, k: int, seed: int
) -> None:
    affinity = linked_by(random_cells(m, r, seed), 4 * r)
    labels = np.random.default_rng(seed).integers(0, k, m)
    rows, found = random_cells(5, r, seed + 1), np.arange(5) % k
    confidence = CellLinks(rows, [affinity.sharing(labels, k)]).confidence(0, found)
    for row, cluster, one in zip(rows, found, confidence, strict=True):
        mates = [labels[affinity.landmark_cells[:, i] == row[i]] for i in range(r)]
        shares = [(cell == cluster).mean() if len(cell) else 0.0 for cell in mates]
        assert one == pytest.approx(np.mean(shares), abs=1e-6)


def test_a_subset_keeps_the_cells_and_the_links_of_its_landmarks() -> None:
    rows, _ = planted_directions(4, 20, 0.8)
    affinity = Consensus.fit(rows, [3, 6], 0)
    some = np.array([2, 3, 5, 7, 11, 40, 41, 79])
    subset = affinity.subset(some)
    assert np.array_equal(subset.landmark_cells, affinity.landmark_cells[some])
    assert np.array_equal(subset.reach(rows), affinity.landmark_cells)
    values, _ = subset.eigenpairs(4, 0)
    together = (subset.landmark_cells[:, None] == subset.landmark_cells).mean(2)
    root = 1 / np.sqrt(together.sum(1))
    expected = np.linalg.eigvalsh(root[:, None] * together * root)[::-1][:4]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_the_same_seed_gives_the_same_cells() -> None:
    rows, _ = planted_directions(4, 20, 0.8)
    one, other = (consensus.fit_cells(rows, [3, 6], 7) for _ in range(2))
    assert np.array_equal(one.centroids, other.centroids)


@pytest.mark.parametrize("m", [2, 3, 9])
def test_few_equal_rows_are_no_error(m: int) -> None:
    rows = np.ones((m, 3), np.float32)
    affinity = Consensus.fit(rows, consensus.cell_counts(m, 30, 3), 0)
    values, vectors = affinity.eigenpairs(2, 0)
    assert np.isfinite(vectors).all()
    assert values[0] == pytest.approx(1)
    links = CellLinks(affinity.landmark_cells, [affinity.placing(values, vectors)])
    assert np.isfinite(links.average(0)).all()
