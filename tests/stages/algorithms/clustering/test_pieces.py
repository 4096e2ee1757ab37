import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering.kmeans import breathing_kmeans, nearest
from cpp_pipe.stages.algorithms.clustering.pieces import join, join_pieces, overlap
from cpp_pipe.stages.algorithms.metrics import accuracy

from ....strategies import random_unit_rows, seeds


def groups(sizes: list[int], spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around orthogonal directions, `sizes` around each."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = random_unit_rows(len(labels), 40, seed).numpy()
    rows = np.eye(len(sizes), 40)[labels] + spread * noise
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def sums_of(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k = labels.max() + 1
    return np.stack([x[labels == c].sum(0) for c in range(k)]), np.bincount(labels)


@settings(max_examples=30)
@given(seeds)
def test_overlap_is_the_mean_cosine_over_those_within(seed: int) -> None:
    x, labels = groups([5, 7, 2], 0.9, seed)
    cosine = x @ x.T
    found = overlap(*sums_of(x, labels))
    within = []
    for cluster in range(3):
        block = cosine[labels == cluster][:, labels == cluster]
        within.append(block[~np.eye(len(block), dtype=bool)].mean())
    between = cosine[labels == 0][:, labels == 1].mean()
    if min(within[:2]) > 1e-3:
        assert found[0, 1] == pytest.approx(between / np.sqrt(within[0] * within[1]))
    assert (np.diag(found) == -1).all()


def test_random_pieces_of_one_group_overlap_fully_whatever_their_sizes() -> None:
    x, labels = groups([400, 400], 1.5)
    pieces = labels * 2 + (np.arange(800) % 10 == 0)  # a tenth of each group
    found = overlap(*sums_of(x, pieces))
    assert found[0, 1] == pytest.approx(1, abs=0.05)
    assert found[2, 3] == pytest.approx(1, abs=0.05)
    assert abs(found[0, 2]) < 0.1


def test_joining_gives_back_the_groups_that_pieces_were_cut_from() -> None:
    x, labels = groups([200, 20, 20, 20], 0.8)
    pieces = np.where(labels == 0, np.arange(len(x)) % 5, labels + 4)
    group, least = join(x, pieces, 4)
    assert least > 0.9
    assert sorted(set(group.tolist())) == [0, 1, 2, 3]
    assert accuracy(labels, group[pieces]) == 1


@given(st.integers(1, 6), seeds)
def test_joining_numbers_the_clusters_without_a_gap(k: int, seed: int) -> None:
    x = random_unit_rows(30, 5, seed).numpy()
    group, _ = join(x, np.arange(30) % 6, k)
    assert sorted(set(group.tolist())) == list(range(k))


def pieces_of(x: np.ndarray, k: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """The k clusters of k-means, and pieces that join into better ones, or None."""
    points = x.astype(np.float32)
    labels = nearest(points, breathing_kmeans(points, k, 0))
    return labels, join_pieces(points, points, labels, k, 0)


def test_a_group_cut_by_k_means_is_joined_again() -> None:
    x, labels = groups([600] + [60] * 9, 0.8)
    cut, joined = pieces_of(x, 10)
    assert accuracy(labels, cut) < 0.8
    assert joined is not None
    centroids, group = joined
    assert len(centroids) == len(group) > 10
    assert set(group.tolist()) == set(range(10))
    assert accuracy(labels, group[nearest(x.astype(np.float32), centroids)]) == 1


def test_clusters_that_differ_are_left_alone() -> None:
    x, labels = groups([40] * 6, 0.5)
    found, joined = pieces_of(x, 6)
    assert joined is None
    assert accuracy(labels, found) == 1


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_few_rows_have_no_pieces_to_join(k: int) -> None:
    assert pieces_of(np.eye(6), k)[1] is None
