import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms import consensus
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.algorithms.spectral import cluster_rows, spectral_rows

from ...strategies import random_unit_rows, seeds


def planted(k: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(k * each) % k
    rows = np.eye(k, 3 * k)[labels] + spread * random_unit_rows(k * each, 3 * k, seed).numpy()
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def cells_of(rows: np.ndarray, counts: list[int]) -> tuple[consensus.Cells, np.ndarray]:
    cells = consensus.fit_cells(rows, counts, 0)
    return cells, consensus.find_cells(rows, cells)


@given(st.integers(2, 5000), st.integers(1, 500), st.integers(1, 30))
def test_cells_are_few_enough_to_mean_something(m: int, k_max: int, clusterings: int) -> None:
    counts = consensus.cell_counts(m, k_max, clusterings)
    assert len(counts) == clusterings
    assert counts == sorted(counts)
    assert all(2 <= count <= max(2, m // consensus.LEAST_CELL, 2 * k_max) for count in counts)
    assert max(counts) <= max(2, m // consensus.LEAST_CELL)


def test_a_row_s_cell_is_the_nearest_of_each_base_clustering() -> None:
    rows, _ = planted(4, 20, 0.8)
    cells, found = cells_of(rows, [3, 5])
    assert cells.starts.tolist() == [0, 3, 8]
    distance = np.linalg.norm(rows[:, None] - cells.centroids, axis=2)
    assert np.array_equal(found[:, 0], distance[:, :3].argmin(1))
    assert np.array_equal(found[:, 1], distance[:, 3:].argmin(1) + 3)


def test_the_affinity_is_the_share_of_clusterings_that_agree() -> None:
    found = np.array([[0, 2], [0, 3], [1, 3], [1, 2]])
    together = (found[:, None] == found).mean(2)
    degrees = together.sum(1)
    expected = np.linalg.eigvalsh(together / np.sqrt(np.outer(degrees, degrees)))[::-1]
    values, _ = consensus.consensus_eigenpairs(found, 4, 4, 0)
    np.testing.assert_allclose(values, expected, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(1, 5), seeds)
def test_the_extension_gives_a_landmark_its_own_place(m: int, r: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    found = generator.integers(0, 4, (m, r)) + 4 * np.arange(r)
    values, vectors = consensus.consensus_eigenpairs(found, 4 * r, 6, 0)
    to = consensus.extension(found, 4 * r, values, vectors)
    kept = np.abs(values) > 1e-3
    np.testing.assert_allclose(consensus.place(found, to)[:, kept], vectors[:, kept], atol=1e-8)


def test_a_cell_without_landmarks_places_a_row_nowhere() -> None:
    found = np.array([[0], [1], [0]])
    values, vectors = consensus.consensus_eigenpairs(found, 3, 2, 0)
    to = consensus.extension(found, 3, values, vectors)
    assert (consensus.place(np.array([[2]]), to) == 0).all()
    assert (consensus.agreement(found, 3, np.zeros(3, np.int64), 1)[2] == 0).all()


def test_planted_clusters_are_found_and_other_rows_follow() -> None:
    rows, labels = planted(6, 60, 0.7)
    cells, found = cells_of(rows[:240], [8, 10, 12, 14])
    values, vectors = consensus.consensus_eigenpairs(found, len(cells.centroids), 8, 0)
    clusters, centroids = cluster_rows(spectral_rows(vectors, 6), 6, 0, 5)
    to = consensus.extension(found, len(cells.centroids), values, vectors)
    places = spectral_rows(consensus.place(consensus.find_cells(rows[240:], cells), to), 6)
    nearest = np.linalg.norm(places[:, None] - centroids, axis=2).argmin(1)
    assert accuracy(labels, np.concatenate([clusters, nearest])) == 1
    shares = consensus.agreement(found, len(cells.centroids), clusters, 6)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)


def test_the_same_seed_gives_the_same_cells() -> None:
    rows, _ = planted(4, 20, 0.8)
    one, other = (consensus.fit_cells(rows, [3, 6], 7) for _ in range(2))
    assert np.array_equal(one.centroids, other.centroids)


@pytest.mark.parametrize("m", [2, 3, 9])
def test_a_handful_of_equal_rows_is_no_error(m: int) -> None:
    rows = np.ones((m, 3), np.float32)
    counts = consensus.cell_counts(m, 30, 3)
    cells, found = cells_of(rows, counts)
    values, vectors = consensus.consensus_eigenpairs(found, len(cells.centroids), 2, 0)
    assert np.isfinite(vectors).all()
    assert values[0] == pytest.approx(1)
