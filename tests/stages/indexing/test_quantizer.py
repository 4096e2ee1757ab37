"""Centroids of lists, fitted in groups and then all at once."""

import faiss
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.indexing.faiss_library import map_in_threads
from cpp_pipe.stages.indexing.quantizer import (
    MIN_GROUPED_LISTS,
    assign_lists,
    fit_centroids,
    flat_index,
)

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


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=40))
def test_results_of_threads_are_in_order(items):
    assert list(map_in_threads(lambda item: item * 2, items)) == [item * 2 for item in items]
