"""Rows in a plane: similar rows are close together, by every method."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from cpp_pipe.stages.algorithms import plane
from cpp_pipe.stages.algorithms.plane import centred, extend_plane, fit_plane


def groups(count: int, of: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around `of` axes in turn, and the axis of each."""
    generator = np.random.default_rng(seed)
    which = np.arange(count) % of
    rows = 4 * np.eye(of, 16)[which] + 0.5 * generator.standard_normal((count, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), which


def nearest_of_own(xy: np.ndarray, which: np.ndarray) -> float:
    """Share of points whose nearest other point is in their group."""
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return float((which[apart.argmin(1)] == which).mean())


@pytest.mark.parametrize(
    "method", ["tsne", pytest.param("umap", marks=[pytest.mark.slow, pytest.mark.umap])]
)
def test_groups_stay_together(method):
    if method == "umap":
        pytest.importorskip("umap", reason="the extra cpp-pipe[map] is not installed")
    z, which = groups(150, 5)
    xy = fit_plane(z, method, 0)
    assert xy.dtype == np.float32 and np.abs(xy).max() == 1
    assert nearest_of_own(xy, which) > 0.98
    assert (fit_plane(z, method, 0) == xy).all()


def test_pca_is_that_of_scikit_learn_up_to_its_frame():
    z, _ = groups(60, 4)
    expected = centred(PCA(2).fit_transform(z))
    found = fit_plane(z, "pca", 0)
    assert np.allclose(np.abs(found), np.abs(expected), atol=1e-4)


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5])
def test_few_rows_have_places_too(method, rows):
    z, _ = groups(rows, 2)
    xy = fit_plane(z, method, 0)
    assert xy.shape == (rows, 2) and np.isfinite(xy).all()


def test_equal_rows_have_one_place():
    z = np.tile(np.eye(1, 8, dtype=np.float32), (20, 1))
    assert np.ptp(fit_plane(z, "pca", 0), axis=0).max() < 1e-3


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_points_are_centred_and_reach_one(points):
    found = centred(np.array(points, np.float64))
    assert np.abs(found).max() <= 1 + 1e-6
    assert np.allclose(found.max(0) + found.min(0), 0, atol=1e-4)


def test_other_rows_are_placed_with_their_group():
    z, which = groups(200, 5)
    xy = fit_plane(z[:100], "tsne", 0)
    found = extend_plane(z[:100], xy, z)
    assert nearest_of_own(np.concatenate([xy, found[100:]]), which) > 0.95
    middles = np.array([xy[which[:100] == one].mean(0) for one in range(5)])
    apart = np.linalg.norm(found[:, None] - middles[None], axis=-1)
    assert (apart.argmin(1) == which).mean() > 0.98


def test_a_single_fitted_row_is_the_place_of_all_rows():
    z, _ = groups(9, 3)
    assert (extend_plane(z[:1], np.array([[0.5, -1]], np.float32), z) == [0.5, -1]).all()


def test_no_rows_have_no_places():
    z, _ = groups(5, 2)
    assert extend_plane(z, np.zeros((5, 2), np.float32), z[:0]).shape == (0, 2)


@pytest.mark.parametrize("fitted", [3, 64 * 10, 64 * 11, 64 * 11 + 1, 1500])
def test_other_rows_lie_between_the_places_of_their_nearest_fitted_rows(fitted):
    z, _ = groups(fitted + 40, 7)
    xy = np.random.default_rng(0).uniform(-1, 1, (fitted, 2)).astype(np.float32)
    found = extend_plane(z[:fitted], xy, z[fitted:])
    for row, place in zip(z[fitted:], found, strict=True):
        cosines = z[:fitted] @ row
        nearest = np.argsort(-cosines)[: plane.NEIGHBOURS]
        weights = np.exp(plane.SHARPNESS * (cosines[nearest] - cosines.max()))
        expected = weights @ xy[nearest] / weights.sum()
        np.testing.assert_allclose(place, expected, atol=1e-4)  # float32 cosines, times 30
