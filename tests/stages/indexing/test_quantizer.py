"""Centroids of lists, fitted in groups and then together."""

import faiss
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.indexing.faiss_library import side_by_side
from cpp_pipe.stages.indexing.quantizer import FEWEST_LISTS, assign, fit_centroids, flat

from ..indexes import made_rows


def mean_similarity(centroids: np.ndarray, z: np.ndarray) -> float:
    return float((z.astype(np.float32) @ centroids.T).max(1).mean())


def test_centroids_fitted_in_groups_are_as_near_as_those_fitted_at_once():
    z = made_rows(20_000)
    lists = 2 * FEWEST_LISTS
    found = fit_centroids(z, lists, 0, "cpu")
    assert found.shape == (lists, z.shape[1]) and found.dtype == np.float32
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    at_once = faiss.Kmeans(z.shape[1], lists, niter=10, spherical=True, seed=0)
    at_once.train(z.astype(np.float32))
    assert at_once.centroids is not None
    assert mean_similarity(found, z) > mean_similarity(at_once.centroids, z) - 0.01
    sizes = np.bincount(assign(flat(found), z), minlength=lists)
    assert (sizes > 0).mean() > 0.95


def test_copies_of_one_row_make_lists_too():
    z = np.repeat(made_rows(3), 400, axis=0)
    found = fit_centroids(z, 300, 0, "cpu")
    assert found.shape[0] == 300 and np.isfinite(found).all()
    assert mean_similarity(found, z) > 0.999


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=40))
def test_what_is_worked_on_side_by_side_comes_in_order(items):
    assert list(side_by_side(lambda one: one * 2, items)) == [one * 2 for one in items]
