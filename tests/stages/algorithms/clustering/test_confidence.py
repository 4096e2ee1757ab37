import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering.confidence import (
    agreement,
    assign_points,
    fit_sharpness,
)
from cpp_pipe.stages.algorithms.clustering.kmeans import breathing_kmeans, nearest
from cpp_pipe.stages.algorithms.metrics import accuracy

from ....strategies import random_unit_rows, seeds
from .planted import planted_directions


def confidence(
    rows: np.ndarray, centroids: np.ndarray, group: np.ndarray, sharpness: float
) -> np.ndarray:
    return assign_points(rows, centroids, group, sharpness)[1]


def fitted(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centroids, their clusters, and the confidence of each row."""
    centroids = breathing_kmeans(rows, k, 0)
    group = np.arange(len(centroids))
    return (
        centroids,
        group,
        confidence(rows, centroids, group, fit_sharpness(rows, centroids, group, 0)),
    )


@given(st.integers(1, 8), st.floats(0.01, 1000), seeds)
def test_confidence_is_between_an_even_share_and_one(k: int, sharpness: float, seed: int) -> None:
    rows = random_unit_rows(30, 6, seed).float().numpy()
    sure = confidence(rows, rows[:k].copy(), np.arange(k), sharpness)
    assert ((sure >= 1 / k - 1e-5) & (sure <= 1 + 1e-6)).all()


def test_the_mean_confidence_is_the_agreement_of_halves() -> None:
    rows, _ = planted_directions(8, 40, 1.6, d=24)
    centroids, group, sure = fitted(rows, 8)
    labels = group[nearest(rows, centroids)]
    assert sure.mean() == pytest.approx(agreement(rows, labels, 0), abs=1e-3)


@pytest.mark.parametrize("spread", [0.8, 1.2, 1.6])
def test_confidence_is_close_to_accuracy(spread: float) -> None:
    rows, labels = planted_directions(8, 120, spread, d=24)
    centroids, group, sure = fitted(rows, 8)
    found = group[nearest(rows, centroids)]
    assert sure.mean() == pytest.approx(accuracy(labels, found), abs=0.12)
    is_sure = sure >= np.median(sure)
    assert accuracy(labels[is_sure], found[is_sure]) >= accuracy(labels, found)


def test_noise_is_less_certain_than_groups() -> None:
    noise = random_unit_rows(400, 24, 3).float().numpy()
    assert fitted(noise, 8)[2].mean() < 0.5
    assert fitted(planted_directions(8, 50, 0.3, d=24)[0], 8)[2].mean() > 0.99


def test_pieces_of_one_cluster_do_not_compete() -> None:
    rows, _ = planted_directions(4, 50, 0.5, d=24)
    centroids = breathing_kmeans(rows, 4, 0)
    halves = np.concatenate([centroids, centroids + 1e-4])
    whole = confidence(rows, centroids, np.arange(4), 8.0)
    cut = confidence(rows, halves, np.arange(8) % 4, 8.0)
    np.testing.assert_allclose(cut, whole, atol=1e-2)


def test_one_cluster_or_few_rows_have_full_confidence() -> None:
    rows = np.eye(6, dtype=np.float32)
    assert agreement(rows, np.zeros(6, np.int64), 0) == 1
    assert agreement(rows, np.arange(6), 0) == 1
    assert (confidence(rows, rows[:1].copy(), np.zeros(1, np.int64), 5.0) == 1).all()


@given(st.integers(1, 9), st.integers(0, 40), st.floats(0.1, 1000), seeds)
def test_clusters_and_confidences_follow_their_definitions(
    k: int, n: int, sharpness: float, seed: int
) -> None:
    rows = random_unit_rows(n, 6, seed).float().numpy()
    generator = np.random.default_rng(seed)
    # Pieces in any order, of which clusters have one or several; centroids are shorter than rows.
    group = generator.permutation(np.concatenate([np.arange(k), generator.integers(0, k, 3)]))
    centroids = random_unit_rows(k + 3, 6, seed + 1).float().numpy() * np.float32(0.8)
    clusters, sure = assign_points(rows, centroids, group, sharpness)
    assert np.array_equal(clusters, group[nearest(rows, centroids)])
    for row, found in zip(rows.astype(np.float64), sure, strict=True):
        cosines = centroids.astype(np.float64) @ row / np.linalg.norm(centroids, axis=1)
        best = np.array([cosines[group == cluster].max() for cluster in range(k)])
        weights = np.exp(sharpness * (best - best.max()))
        assert found == pytest.approx(1 / weights.sum(), rel=1e-5)
