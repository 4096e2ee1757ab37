import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering import landmarks as module
from cpp_pipe.stages.algorithms.clustering import memberships
from cpp_pipe.stages.algorithms.clustering.consensus import Consensus
from cpp_pipe.stages.algorithms.clustering.k_max import FEW, LEAST, ROWS_A_CLUSTER, usual_k_max
from cpp_pipe.stages.algorithms.clustering.kmeans import nearest
from cpp_pipe.stages.algorithms.clustering.landmarks import (
    AffinityName,
    Assigner,
    Landmarks,
    Partition,
    clustering_rows,
    fit_landmarks,
)
from cpp_pipe.stages.algorithms.clustering.memberships import Memberships
from cpp_pipe.stages.algorithms.clustering.spectral import spectral_rows
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.store.errors import ConfigError

from ....strategies import random_rows, seeds
from .planted import planted_directions, planted_subspaces, unit

KINDS: list[AffinityName] = ["consensus", "membership"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def fit(z: np.ndarray, kind: AffinityName, k_max: int = 12) -> Landmarks:
    points = clustering_rows(z, z)
    return fit_landmarks(points, z, z, affinity=kind, k_max=k_max, clusterings=8, eta=0.1, seed=0)


def assign(landmarks: Landmarks, partition: Partition, z: np.ndarray) -> np.ndarray:
    ((clusters, _),) = Assigner(landmarks, [partition]).assign(clustering_rows(z, z))
    return clusters


def clusters_of_landmarks(partition: Partition) -> np.ndarray:
    """The clusters of the landmarks."""
    return partition.group[partition.pieces]


# Clusters of the landmarks, and of any other row.


@each_kind
@pytest.mark.parametrize("k", [1, 2, 5, 6, 12])
def test_an_assigner_gives_landmarks_their_own_clusters(kind: AffinityName, k: int) -> None:
    z, _ = planted_directions(6, 40, 0.7)
    landmarks = fit(z, kind)
    partition = landmarks.partition(k)
    assert partition.k == k
    assert np.array_equal(assign(landmarks, partition, z), clusters_of_landmarks(partition))


@each_kind
def test_planted_clusters_are_found_and_other_rows_follow(kind: AffinityName) -> None:
    z, labels = planted_directions(6, 80, 0.7)
    landmarks = fit(z[:240], kind)
    partition = landmarks.partition(6)
    assert accuracy(labels, assign(landmarks, partition, z)) == 1


@each_kind
def test_rows_are_placed_among_the_eigenvectors_up_to_their_length(kind: AffinityName) -> None:
    z, _ = planted_directions(6, 40, 0.7)
    landmarks = fit(z, kind)
    placed = landmarks.place(clustering_rows(z, z), 6)
    assert placed.dtype == np.float32
    # Float32, and eigenvalues of 0.1 and more.
    expected = spectral_rows(landmarks.vectors, 6)
    np.testing.assert_allclose(spectral_rows(placed, 6), expected, atol=1e-4)
    assert landmarks.place(landmarks.points[:0], 6).shape == (0, 6)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(KINDS), st.integers(2, 60), st.integers(1, 30), seeds)
def test_every_row_gets_a_cluster_and_a_confidence(
    kind: AffinityName, m: int, k_max: int, seed: int
) -> None:
    landmarks = fit(random_rows(m, 6, seed), kind, k_max)
    assert len(landmarks.values) == min(m, k_max)
    partitions = [landmarks.partition(k) for k in {1, 2, k_max} if k <= min(m, k_max)]
    z = np.concatenate([random_rows(40, 6, seed + 1), landmarks.z])
    for partition, (clusters, confidence) in zip(
        partitions, Assigner(landmarks, partitions).assign(clustering_rows(z, z)), strict=True
    ):
        assert clusters.dtype == np.int32 and confidence.dtype == np.float32
        assert len(clusters) == len(confidence) == m + 40
        assert set(clusters.tolist()) <= set(range(partition.k))
        assert ((confidence >= 0) & (confidence <= 1)).all()


@each_kind
def test_several_partitions_at_once_equal_each_on_its_own(kind: AffinityName) -> None:
    z, _ = planted_directions(6, 40, 0.9)
    landmarks, points = fit(z[:120], kind), clustering_rows(z, z)
    partitions = [landmarks.partition(k) for k in (9, 1, 6, 2)]
    together = Assigner(landmarks, partitions).assign(points)
    for partition, (clusters, confidence) in zip(partitions, together, strict=True):
        ((alone, confidence_alone),) = Assigner(landmarks, [partition]).assign(points)
        assert np.array_equal(clusters, alone)
        assert np.array_equal(confidence, confidence_alone)


@each_kind
@pytest.mark.parametrize("rows", [1, 7, 239, 240])
def test_the_size_of_a_chunk_changes_no_label(
    monkeypatch: pytest.MonkeyPatch, kind: AffinityName, rows: int
) -> None:
    z, _ = planted_directions(6, 40, 0.9)
    landmarks, points = fit(z[:120], kind), clustering_rows(z, z)
    assigner = Assigner(landmarks, [landmarks.partition(6), landmarks.partition(11)])
    whole, places = assigner.assign(points), landmarks.place(points, 6)
    monkeypatch.setattr(module, "BLOCK_ROWS", rows)
    monkeypatch.setattr(memberships, "BLOCK_LANDMARKS", rows)
    for (clusters, confidence), (other, other_confidence) in zip(
        whole, assigner.assign(points), strict=True
    ):
        assert np.array_equal(clusters, other)
        # Products of other shapes sum in another order.
        np.testing.assert_allclose(confidence, other_confidence, atol=1e-5)
    np.testing.assert_allclose(landmarks.place(points, 6), places, rtol=1e-4, atol=1e-6)


@each_kind
def test_empty_input_is_no_error(kind: AffinityName) -> None:
    z, _ = planted_directions(3, 20, 0.5)
    landmarks = fit(z, kind)
    partitions = [landmarks.partition(3), landmarks.partition(5)]
    for clusters, confidence in Assigner(landmarks, partitions).assign(
        np.empty((0, landmarks.points.shape[1]), np.float32)
    ):
        assert clusters.dtype == np.int32 and confidence.dtype == np.float32
        assert len(clusters) == len(confidence) == 0


@each_kind
def test_more_clusters_than_eigenvectors_are_refused(kind: AffinityName) -> None:
    landmarks = fit(planted_directions(3, 20, 0.5)[0], kind, k_max=5)
    message = r"k must be at most 5, .* got 6: raise spectrum\.k_max, up to its 60"
    with pytest.raises(ConfigError, match=message):
        landmarks.cluster(6)
    if kind == "membership":
        with pytest.raises(ConfigError, match=message):
            landmarks.partition(6)
    else:
        assert landmarks.partition(6).k == 6


@each_kind
def test_the_same_seed_gives_the_same_clusters(kind: AffinityName) -> None:
    z, _ = planted_directions(6, 40, 0.9)
    one, other = fit(z, kind), fit(z, kind)
    assert np.array_equal(one.vectors, other.vectors)
    for k in (2, 6, 9):
        assert np.array_equal(
            clusters_of_landmarks(one.partition(k)), clusters_of_landmarks(other.partition(k))
        )


@each_kind
def test_resampled_landmarks_have_their_own_eigenpairs(kind: AffinityName) -> None:
    z, labels = planted_directions(6, 40, 0.7)
    some = np.arange(0, 240, 7)
    resampled = fit(z, kind).resample(some, 3)
    assert np.array_equal(resampled.z, z[some])
    assert len(resampled.values) == 12 and resampled.vectors.shape == (35, 12)
    assert resampled.seed == 3
    partition = resampled.partition(6)
    assert accuracy(labels[some], clusters_of_landmarks(partition)) == 1
    assert accuracy(labels, assign(resampled, partition, z)) > 0.95
    few = fit(z, kind).resample(some[:4], 3)
    assert len(few.values) == 4


def test_a_group_much_larger_than_others_is_one_cluster_for_every_row() -> None:
    labels = np.repeat(np.arange(20), [300] + [30] * 19)
    z = unit(np.eye(20, 40)[labels] + 0.8 * random_rows(870, 40, 0))
    landmarks = fit(z, "consensus", k_max=20)
    partition = landmarks.partition(20)
    assert partition.k == 20
    assert sorted(set(clusters_of_landmarks(partition).tolist())) == list(range(20))
    assert accuracy(labels, clusters_of_landmarks(partition)) == 1
    assert accuracy(labels, assign(landmarks, partition, z)) == 1


def test_pieces_of_one_cluster_are_one_cluster_for_every_row() -> None:
    z, labels = planted_directions(6, 40, 0.7)
    landmarks = fit(z, "consensus")
    whole = landmarks.partition(6)
    halves = np.concatenate([whole.centroids, whole.centroids + np.float32(0.01)])
    pieces = nearest(landmarks.points, halves)
    cut = Partition(pieces, halves, np.arange(12) % 6, whole.sharpness)
    assert cut.k == 6 and accuracy(labels, clusters_of_landmarks(cut)) == accuracy(
        labels, clusters_of_landmarks(whole)
    )
    ((one, sure), (other, as_sure)) = Assigner(landmarks, [whole, cut]).assign(landmarks.points)
    assert np.array_equal(one, other)
    np.testing.assert_allclose(sure, as_sure, atol=0.05)


# Few rows.


@pytest.mark.parametrize("kind", [*KINDS, "auto"])
@pytest.mark.parametrize("m", [2, 3, 7])
def test_fewer_rows_than_eigenvectors_give_at_most_k_clusters(kind: AffinityName, m: int) -> None:
    z = random_rows(m, 8, 0)
    landmarks = fit(z, kind, k_max=30)
    assert len(landmarks.values) == m
    for k in range(1, m + 1):
        clusters = assign(landmarks, landmarks.partition(k), z)
        assert set(clusters.tolist()) <= set(range(k))


def test_every_row_can_be_its_own_cluster() -> None:
    # Orthogonal rows are maximally dissimilar.
    z = np.eye(12, dtype=np.float32)
    landmarks = fit(z, "membership", k_max=12)
    clusters = assign(landmarks, landmarks.partition(12), z)
    assert sorted(clusters.tolist()) == list(range(12))


def test_a_single_far_row_is_a_cluster_with_no_confidence() -> None:
    z, labels = planted_directions(3, 40, 0.5)
    z = np.concatenate([z, np.eye(9, dtype=np.float32)[8:]])
    labels = np.append(labels, 3)
    landmarks = fit(z, "membership")
    ((clusters, confidence),) = Assigner(landmarks, [landmarks.partition(4)]).assign(
        clustering_rows(z, z)
    )
    assert accuracy(labels, clusters) == 1
    # It is only linked to itself.
    assert confidence[-1] == 0 and confidence[:-1].min() > 0.5


@pytest.mark.parametrize("kind", [*KINDS, "auto"])
@pytest.mark.parametrize("k", [1, 2, 10])
def test_equal_rows_are_one_cluster_for_any_k(kind: AffinityName, k: int) -> None:
    z = np.repeat(random_rows(1, 8, 0), 200, axis=0)
    landmarks = fit(z, kind)
    partition = landmarks.partition(k)
    clusters = assign(landmarks, partition, z)
    assert set(clusters.tolist()) == {0}
    assert np.array_equal(clusters_of_landmarks(partition), clusters)
    assert partition.k == 1


@each_kind
@pytest.mark.parametrize("k", [2, 5, 10])
def test_landmarks_that_are_equal_are_in_one_cluster(kind: AffinityName, k: int) -> None:
    # Beyond the fifth, eigenvectors are only rounding, and must not matter.
    which = np.arange(200) % 5
    z = random_rows(5, 16, 0)[which]
    landmarks = fit(z, kind)
    partition = landmarks.partition(k)
    clusters = clusters_of_landmarks(partition)
    assert len(set(zip(which.tolist(), clusters.tolist(), strict=True))) == 5
    assert np.array_equal(assign(landmarks, partition, z), clusters)


# Which affinity.


def test_auto_takes_the_membership_for_a_union_of_subspaces() -> None:
    z, labels = planted_subspaces(20, 4, 64, 100)
    landmarks = fit(z, "auto", k_max=40)
    assert isinstance(landmarks.affinity, Memberships)
    partition = landmarks.partition(20)
    assert accuracy(labels, clusters_of_landmarks(partition)) == 1
    assert accuracy(labels, assign(landmarks, partition, z)) == 1


def test_auto_takes_the_consensus_for_blobs() -> None:
    # Both affinities find these, so both codes are equally short: with 16 dimensions and groups
    # of 100 rows, the true groups have the shortest code.
    generator = np.random.default_rng(0)
    labels = np.arange(2000) % 20
    centres = random_rows(20, 16, 0)
    z = unit(centres[labels] + 0.3 / 4 * generator.standard_normal((2000, 16)))
    landmarks = fit(z, "auto", k_max=40)
    assert isinstance(landmarks.affinity, Consensus)
    assert accuracy(labels, clusters_of_landmarks(landmarks.partition(20))) == 1


# How many eigenvectors.


@given(st.integers(1, 10**7), st.integers(1, 50_000))
def test_the_usual_k_max_follows_the_rows_and_the_landmarks(rows: int, landmarks: int) -> None:
    k_max = usual_k_max(rows, landmarks)
    assert 1 <= k_max <= min(rows, landmarks)
    assert k_max >= min(rows, landmarks, LEAST)
    if k_max > LEAST:
        assert k_max <= 2 * rows**0.5
        each = min(rows, landmarks) / k_max
        assert each >= ROWS_A_CLUSTER / (1 if k_max > FEW else 2)
    assert k_max <= usual_k_max(rows + 1, landmarks)


@given(st.integers(0, 9), seeds)
def test_the_cosine_of_points_is_the_mean_of_both_cosines(n: int, seed: int) -> None:
    z, c = random_rows(n, 4, seed), random_rows(n, 4, seed + 1)
    points = clustering_rows(z.astype(np.float16), c.astype(np.float16))
    assert points.dtype == np.float32
    expected = (z @ z.T + c @ c.T) / 2
    np.testing.assert_allclose(points @ points.T, expected, atol=4e-3)  # float16
