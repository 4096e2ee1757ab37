"""Centroids of lists, fitted in groups and then all at once."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.indexing.centroids import (
    CentroidGroups,
    assign_lists,
    flat_index,
    nearest_centroid,
)
from cpp_pipe.stages.indexing.faiss_library import map_in_threads
from cpp_pipe.stages.indexing.quantizer import MIN_GROUPED_LISTS, fit_centroids

from ..indexes import made_rows


def mean_similarity(centroids: np.ndarray, z: np.ndarray) -> float:
    return float((z.astype(np.float32) @ centroids.T).max(1).mean())


def test_centroids_fitted_in_groups_are_as_close_as_those_fitted_at_once():
    z = made_rows(20_000)
    lists = 2 * MIN_GROUPED_LISTS
    centroids = fit_centroids(z, lists, 0, "cpu")
    assert centroids.shape == (lists, z.shape[1]) and centroids.dtype == np.float32
    assert np.abs(np.linalg.norm(centroids, axis=1) - 1).max() < 1e-5
    at_once = faiss.Kmeans(z.shape[1], lists, niter=10, spherical=True, seed=0)
    at_once.train(z.astype(np.float32))
    assert at_once.centroids is not None
    assert mean_similarity(centroids, z) > mean_similarity(at_once.centroids, z) - 0.01
    sizes = np.bincount(assign_lists(flat_index(centroids), z), minlength=lists)
    assert (sizes > 0).mean() > 0.95


def test_copies_of_few_rows_still_give_all_centroids():
    z = np.repeat(made_rows(3), 400, axis=0)
    centroids = fit_centroids(z, 300, 0, "cpu")
    assert centroids.shape[0] == 300 and np.isfinite(centroids).all()
    assert mean_similarity(centroids, z) > 0.999


def test_the_highest_seed_gives_centroids():
    """`index.seed` may be as high as NumPy's seeds, and FAISS refused it with an OverflowError."""
    centroids = fit_centroids(made_rows(600), MIN_GROUPED_LISTS, 2**32 - 1, "cpu")
    assert len(centroids) == MIN_GROUPED_LISTS and np.isfinite(centroids).all()


def test_comparing_all_groups_finds_the_most_similar_centroid():
    z = made_rows(3_000).astype(np.float32)
    centroids, rows = z[:300], z[300:]
    numbers = CentroidGroups(centroids, 17).nearest(rows, compared=17)
    chosen = (rows * centroids[numbers]).sum(1)
    assert chosen == pytest.approx((rows @ centroids.T).max(1), abs=1e-6)


def losses(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """How much less similar the centroid found for each row is than the most similar one."""
    similarities = rows @ centroids.T
    numbers = nearest_centroid(flat_index(centroids))(rows)
    return similarities.max(1) - np.take_along_axis(similarities, numbers[:, None], 1)[:, 0]


def test_of_many_centroids_a_few_groups_hold_the_most_similar_one_of_clustered_rows():
    z = made_rows(12_000).astype(np.float32)
    assert (losses(z[5_000:], z[:5_000]) < 1e-6).mean() > 0.99


def test_of_many_centroids_a_few_groups_hold_a_similar_one_even_of_rows_without_clusters():
    z = np.random.default_rng(0).normal(size=(8_000, 64)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    lost = losses(z[5_000:], z[:5_000])
    assert 0 < lost.mean() < 0.03, "not all are compared"


def test_groups_without_centroids_are_never_chosen():
    centroids = np.repeat(made_rows(3), 20, axis=0).astype(np.float32)
    rows = made_rows(50).astype(np.float32)
    numbers = CentroidGroups(centroids, 30).nearest(rows, compared=30)
    chosen = (rows * centroids[numbers]).sum(1)
    assert chosen == pytest.approx((rows @ centroids.T).max(1), abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=40))
def test_results_of_threads_are_in_order(items):
    assert list(map_in_threads(lambda item: item * 2, items)) == [item * 2 for item in items]
