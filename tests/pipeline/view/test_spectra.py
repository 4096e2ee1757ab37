"""Singular values and cosines agree with NumPy on small matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.view.spectra import (
    absolute_cosines,
    contrast,
    second_moment,
    singular_values,
)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_singular_values_are_those_of_the_decomposition(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float16)
    found = singular_values(second_moment(x), n)
    expected = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    assert found.shape == (min(n, d),)
    # Squares lose small values beside the largest square.
    assert found == pytest.approx(expected / expected[0], abs=1e-6)


def test_singular_values_descend_from_one():
    x = np.random.default_rng(0).normal(size=(50, 8))
    found = singular_values(second_moment(x), 50)
    assert found[0] == 1
    assert (np.diff(found) <= 0).all()


def test_moments_of_parts_add_up_to_the_moment_of_all_rows():
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    parts = second_moment(x[:13]) + second_moment(x[13:])
    assert parts == pytest.approx(second_moment(x), rel=1e-12)


def test_cosines_ignore_sign_and_length():
    x = np.array([[1.0, 0.0], [-3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert absolute_cosines(x).tolist() == expected


def test_the_contrast_does_not_pair_a_row_with_itself():
    cosines = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.0]])
    assert contrast(cosines, [2, 1]) == pytest.approx((0.5, 0.2))


def test_the_contrast_of_one_cluster_has_no_mean_between_clusters():
    within, between = contrast(np.full((2, 2), 0.5), [2])
    assert within == 0.5 and np.isnan(between)
    within, between = contrast(np.eye(2), [1, 1])
    assert np.isnan(within) and between == 0
