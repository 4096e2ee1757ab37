import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms import neighbours
from cpp_pipe.stages.algorithms.neighbours import (
    choose_landmarks,
    membership_weights,
    neighbour_graph,
    neighbour_weights,
)
from cpp_pipe.stages.algorithms.sinkhorn import membership, potentials

from ...strategies import random_unit_rows, seeds


def features(m: int, p: int, seed: int = 0) -> np.ndarray:
    return random_unit_rows(m, p, seed).float().numpy()


@given(st.integers(0, 15), st.integers(1, 8), seeds)
def test_the_graph_is_the_mean_of_everyone_s_nearest(m: int, count: int, seed: int) -> None:
    z = features(m, 4, seed)
    cosine = z @ z.T
    np.fill_diagonal(cosine, -np.inf)
    directed = np.zeros((m, m))
    for i in range(m):
        for j in np.argsort(-cosine[i], kind="stable")[: min(count, m - 1)]:
            directed[i, j] = max(cosine[i, j], 0)
    graph = neighbour_graph(z, count)
    np.testing.assert_allclose(graph.toarray(), (directed + directed.T) / 2, atol=1e-6)
    assert (graph.data > 0).all()
    assert graph.diagonal().sum() == 0


@pytest.mark.parametrize("chunk_numbers", [1, 40, 10_000])
def test_chunks_change_no_edge(monkeypatch: pytest.MonkeyPatch, chunk_numbers: int) -> None:
    z = features(30, 5)
    whole = neighbour_graph(z, 4)
    monkeypatch.setattr(neighbours, "CHUNK_NUMBERS", chunk_numbers)
    chunked = neighbour_graph(z, 4)
    assert np.array_equal(chunked.indices, whole.indices)
    np.testing.assert_allclose(chunked.data, whole.data, rtol=1e-6)


def test_equal_cosines_go_to_the_lower_row_number() -> None:
    z = np.ones((6, 1), np.float32)
    expected = [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]
    directed = neighbours._nearest(z, z, 2, itself=False)
    assert directed.indices.reshape(6, 2).tolist() == expected


def test_opposite_rows_are_strangers() -> None:
    z = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], np.float32)
    graph = neighbour_graph(z, 3).toarray()
    assert graph[0, 1] > 0.99
    assert graph[2, 3] > 0.99
    assert graph[:2, 2:].sum() == 0


def test_length_does_not_matter_and_a_zero_row_has_no_neighbours() -> None:
    z = features(10, 3)
    stretched = z * np.arange(1, 11, dtype=np.float32)[:, None]
    np.testing.assert_allclose(
        neighbour_graph(stretched, 3).toarray(), neighbour_graph(z, 3).toarray(), atol=1e-6
    )
    z[4] = 0
    assert neighbour_graph(z, 3).toarray()[4].sum() == 0


def test_weights_to_landmarks_are_the_largest_cosines() -> None:
    z, landmarks = features(7, 4, 0), features(20, 4, 1)
    weights = neighbour_weights(z, landmarks, 5).toarray()
    cosine = (z @ landmarks.T).clip(0)
    for row, all_of_them in zip(weights, cosine, strict=True):
        np.testing.assert_allclose(np.sort(row)[-5:], np.sort(all_of_them)[-5:], rtol=1e-6)
        assert np.count_nonzero(row) <= 5
    np.testing.assert_allclose(neighbour_weights(z, landmarks, 99).toarray(), cosine, atol=1e-6)
    assert neighbour_weights(z[:0], landmarks, 5).shape == (0, 20)


def test_membership_weights_of_landmarks_are_their_rows_of_the_membership() -> None:
    c = random_unit_rows(25, 5, 0)
    similarity = (c @ c.T).abs()
    u = potentials(similarity, eta=0.15, tolerance=1e-12).numpy()
    pi = membership(similarity, eta=0.15, tolerance=1e-12).numpy()
    c = c.numpy()
    np.testing.assert_allclose(membership_weights(c[4:9], c, u, 0.15), pi[4:9], rtol=1e-5)
    new = random_unit_rows(6, 5, 1).to(torch.float16).numpy()
    np.testing.assert_allclose(membership_weights(new, c, u, 0.15).sum(1), 1, rtol=1e-6)


@given(st.integers(0, 40), st.integers(1, 40), seeds)
def test_landmarks_are_distinct_rows_in_order(n: int, m: int, seed: int) -> None:
    rows = choose_landmarks(n, m, seed)
    assert rows.dtype == np.int64
    assert len(rows) == min(n, m)
    assert (np.diff(rows) > 0).all()
    assert set(rows.tolist()) <= set(range(n))
    assert np.array_equal(rows, choose_landmarks(n, m, seed))


def test_landmarks_are_spread_evenly() -> None:
    drawn = np.concatenate([choose_landmarks(20, 5, seed) for seed in range(2000)])
    share = np.bincount(drawn, minlength=20) / 2000
    assert abs(share - 0.25).max() < 0.05  # five standard errors
