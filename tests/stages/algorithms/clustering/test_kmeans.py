import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans, kmeans_plusplus

from cpp_pipe.stages.algorithms.clustering import kmeans
from cpp_pipe.stages.algorithms.clustering.kmeans import (
    breathing_kmeans,
    first_rows,
    lloyd,
    means,
    nearest,
)
from cpp_pipe.stages.algorithms.metrics import accuracy

from ....strategies import random_unit_rows, seeds


def blobs(k: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(k * each) % k
    centres = random_unit_rows(k, 16, seed).numpy()
    rows = centres[labels] + spread * random_unit_rows(k * each, 16, seed + 1).numpy()
    return rows.astype(np.float32), labels


def error(rows: np.ndarray, centroids: np.ndarray) -> float:
    return float(((rows[:, None] - centroids) ** 2).sum(2).min(1).sum())


@pytest.mark.parametrize("seed", range(3))
def test_one_start_is_no_worse_than_the_best_of_ten_plain_ones(seed: int) -> None:
    rows, _ = blobs(40, 30, 0.6, seed)
    plain = KMeans(40, n_init=10, random_state=seed).fit(rows)
    assert error(rows, breathing_kmeans(rows, 40, seed)) <= plain.inertia_ * 1.001


def test_separated_blobs_are_found() -> None:
    rows, labels = blobs(12, 20, 0.1)
    assert accuracy(labels, nearest(rows, breathing_kmeans(rows, 12, 0))) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), seeds)
def test_every_cluster_has_rows_and_its_mean_as_centroid(k: int, seed: int) -> None:
    rows = random_unit_rows(40, 5, seed).float().numpy()
    centroids = breathing_kmeans(rows, k, seed)
    labels = nearest(rows, centroids)
    assert (np.bincount(labels, minlength=len(centroids)) > 0).all()
    np.testing.assert_allclose(means(rows, labels, centroids), centroids, atol=1e-4)


def test_there_are_no_more_clusters_than_distinct_rows() -> None:
    rows = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    assert len(breathing_kmeans(rows, 5, 0)) == 3
    assert len(breathing_kmeans(rows[:2], 5, 0)) == 2
    assert len(breathing_kmeans(np.ones((9, 2), np.float32), 4, 0)) == 1


def test_equal_seeds_give_equal_centroids() -> None:
    rows, _ = blobs(9, 30, 0.7)
    one, other = (breathing_kmeans(rows, 9, 4) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("held", [5000, 0])
@pytest.mark.parametrize(("k", "seed"), [(1, 0), (2, 1), (12, 2), (40, 3)])
def test_first_rows_are_those_that_scikit_learn_draws(monkeypatch, held, k, seed) -> None:
    monkeypatch.setattr(kmeans, "PRODUCT_ROWS", held)
    rows, _ = blobs(40, 30, 0.6)
    _, expected = kmeans_plusplus(rows.astype(np.float64), k, random_state=seed)
    assert first_rows(rows, k, seed).tolist() == expected.tolist()


@pytest.mark.parametrize("held", [5000, 0])
def test_first_rows_are_of_every_group_however_close_two_of_them_are(monkeypatch, held) -> None:
    """Their squared distance is hardly more than the rounding of a product."""
    monkeypatch.setattr(kmeans, "PRODUCT_ROWS", held)
    generator, groups = np.random.default_rng(0), np.repeat(np.arange(40), 25)
    centres, apart = random_unit_rows(20, 16, 0).numpy(), random_unit_rows(20, 16, 1).numpy()
    rows = centres[groups // 2] + 5e-4 * (groups % 2)[:, None] * apart[groups // 2]
    rows = (rows + 1e-5 * generator.normal(size=rows.shape)).astype(np.float32)
    for seed in range(3):
        assert len(np.unique(groups[first_rows(rows, 40, seed)])) >= 38


def test_first_rows_differ_while_rows_do() -> None:
    """Of equal rows only rounding is left, for which none is drawn."""
    rows = random_unit_rows(8, 100, 0).float().numpy()[np.arange(400) % 8]
    for seed in range(5):
        assert len(np.unique(rows[first_rows(rows, 8, seed)], axis=0)) == 8
    assert first_rows(np.zeros((3, 2), np.float32), 3, 0).shape == (3,)


def test_lloyd_never_raises_the_error_and_returns_it() -> None:
    rows, _ = blobs(6, 30, 0.7)
    start = rows[:6].copy()
    centroids, returned = lloyd(rows, start)
    assert returned <= error(rows, start)
    assert returned == pytest.approx(error(rows, centroids), rel=1e-4)


def test_a_centroid_without_rows_stays_where_it_is() -> None:
    rows, _ = blobs(3, 10, 0.2)
    far = np.full((1, 16), 50, np.float32)
    centroids, _ = lloyd(rows, np.concatenate([rows[:3], far]))
    assert np.array_equal(centroids[3:], far)
