from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cpp_pipe.stages.algorithms.clustering import spectral
from cpp_pipe.stages.algorithms.clustering.spectral import (
    cluster_rows,
    inverse_of_eigenvalues,
    leading_eigenpairs,
    spectral_rows,
)
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.store.errors import NumericError

from ....strategies import random_unit_rows, seeds
from .planted import planted_directions


def random_affinity(m: int, seed: int, share: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    a = generator.random((m, m)) * (generator.random((m, m)) < share)
    return a + a.T


def normalised(a: np.ndarray) -> np.ndarray:
    d = a.sum(1)
    root = np.divide(1, np.sqrt(d), out=np.zeros_like(d), where=d > 0)
    return root[:, None] * a * root


@settings(max_examples=60)
@given(st.integers(0, 12), st.integers(1, 14), seeds, st.sampled_from([0.05, 0.3, 1.0]))
def test_eigenpairs_are_the_leading_ones_for_any_components(
    m: int, k_max: int, seed: int, share: float
) -> None:
    a = random_affinity(m, seed, share)
    for affinity in (a, sparse.csr_array(a)):
        values, vectors = leading_eigenpairs(affinity, k_max, 0)
        k = min(k_max, m)
        assert values.shape == (k,)
        assert vectors.shape == (m, k)
        expected = np.sort(np.linalg.eigvalsh(normalised(a)))[::-1][:k] if m else values
        np.testing.assert_allclose(values, expected, atol=1e-9)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-9)
        np.testing.assert_allclose(normalised(a) @ vectors, vectors * values, atol=1e-9)
        largest = vectors[np.abs(vectors).argmax(0), np.arange(k)] if m else np.ones(0)
        assert (largest > 0).all()


@pytest.mark.parametrize("make", [sparse.csr_array, np.asarray])
def test_the_iterative_solver_agrees_with_the_dense_one(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[np.ndarray], spectral.AffinityMatrix]
) -> None:
    z, _ = planted_directions(5, 30, 0.8)
    dense = (z @ z.T).clip(0).astype(float) ** 4
    graph = make((dense + dense.T) / 2)
    values, vectors = leading_eigenpairs(graph, 12, 0)
    monkeypatch.setattr(spectral, "DENSE_ORDER", 10)
    iterated, iterated_vectors = leading_eigenpairs(graph, 12, 0)
    np.testing.assert_allclose(iterated, values, atol=1e-10)
    # Compared as a subspace: vectors of nearly equal eigenvalues may mix.
    leading = vectors[:, :5]
    np.testing.assert_allclose(
        iterated_vectors @ (iterated_vectors.T @ leading), leading, atol=1e-8
    )
    again = leading_eigenpairs(graph, 12, 0)[1]
    assert np.array_equal(again, iterated_vectors)


def test_every_component_has_an_eigenvalue_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # A Lanczos iteration from one start finds a repeated eigenvalue only once.
    monkeypatch.setattr(spectral, "DENSE_ORDER", 10)
    blocks = [np.ones((size, size)) for size in (40, 60, 50)]
    values, vectors = leading_eigenpairs(sparse.csr_array(sparse.block_diag(blocks)), 3, 0)
    np.testing.assert_allclose(values, 1)
    support = [np.flatnonzero(np.abs(v) > 1e-9) for v in vectors.T]
    assert [len(rows) for rows in support] == [60, 50, 40]


def test_vanishing_entries_do_not_connect_components() -> None:
    a = np.full((20, 20), 1e-30)
    a[:8, :8] = a[8:, 8:] = 1
    values, vectors = leading_eigenpairs(a, 2, 0)
    np.testing.assert_allclose(values, 1)
    assert (np.abs(vectors[8:, 0]) > 0.1).all()
    assert (np.abs(vectors[:8, 0]) < 1e-9).all()


def test_a_non_finite_affinity_is_refused() -> None:
    a = np.ones((4, 4))
    a[1, 2] = np.nan
    with pytest.raises(NumericError, match="non-finite"):
        leading_eigenpairs(a, 2, 0)


def test_planted_clusters_are_found_from_memberships() -> None:
    c, labels = planted_directions(5, 40, 0.5)
    pi = membership(torch.from_numpy(np.abs(c @ c.T)), eta=0.1).numpy()
    _, vectors = leading_eigenpairs(pi, 5, 0)
    found, _ = cluster_rows(spectral_rows(vectors, 5), 5, 0, 5)
    assert accuracy(labels, found) == 1


def test_unit_rows_of_the_first_vectors_and_zero_rows_stay_zero() -> None:
    vectors = np.array([[3.0, 4.0, 9.0], [0.0, 0.0, 5.0]])
    np.testing.assert_allclose(spectral_rows(vectors, 2), [[0.6, 0.8], [0, 0]])


def test_tiny_eigenvalues_extend_nothing() -> None:
    values = np.array([1.0, 0.25, -0.5, 1e-5, 0.0, -1e-6])
    assert inverse_of_eigenvalues(values).tolist() == [1, 4, -2, 0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 10), seeds)
def test_no_cluster_is_empty_and_fewer_distinct_rows_are_a_cluster_each(
    distinct: int, k: int, copies: int, seed: int
) -> None:
    rows = np.repeat(random_unit_rows(distinct, 4, seed).numpy(), copies, axis=0)
    labels, centroids = cluster_rows(rows, k, 0, 2)
    clusters = min(k, distinct)
    assert sorted(set(labels.tolist())) == list(range(clusters))
    assert centroids.shape == (clusters, 4)
    for cluster in range(clusters):
        np.testing.assert_allclose(centroids[cluster], rows[labels == cluster].mean(0), atol=1e-6)
    again, _ = cluster_rows(rows, k, 0, 2)
    assert np.array_equal(labels, again)


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_seed_above_the_highest_of_numpy_is_one_of_its_seeds(restarts: int) -> None:
    """The second start with the seed 2**32 - 1 ended `select-k` in a traceback."""
    rows = random_unit_rows(30, 4, 0).numpy()
    labels, _ = cluster_rows(rows, 3, 2**32, restarts)
    assert np.array_equal(labels, cluster_rows(rows, 3, 0, restarts)[0])


def test_an_empty_cluster_takes_the_farthest_row() -> None:
    rows = np.array([[0.0], [0.1], [0.2], [5.0]])
    labels, centroids = spectral._fill(rows, np.array([0, 0, 0, 0]), np.zeros((2, 1)))
    assert labels.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(centroids, [[0.1], [5.0]])
