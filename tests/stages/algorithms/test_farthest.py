"""Farthest-point sampling: against its definition, and against the best that is possible."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.farthest import farthest_rows

from ...strategies import random_rows


def radius(rows: np.ndarray, chosen: np.ndarray) -> float:
    """The largest angle between a row and its nearest chosen row."""
    cosines = np.clip(rows @ rows[chosen].T, -1, 1).max(1)
    return float(np.arccos(cosines).max())


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 5))
def test_each_step_takes_the_farthest_row(n, count, seed):
    rows = random_rows(n, 4, seed)
    chosen = farthest_rows(rows, count, seed=seed)
    assert len(chosen) == min(n, count)
    assert len(set(chosen.tolist())) == len(chosen)
    for step in range(1, len(chosen)):
        distances = (1 - rows @ rows[chosen[:step]].T).min(1)
        distances[chosen[:step]] = -1
        assert distances[chosen[step]] == pytest.approx(distances.max(), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_radius_is_at_most_twice_the_best(seed):
    rows = random_rows(11, 3, seed)
    best = min(radius(rows, np.array(three)) for three in itertools.combinations(range(11), 3))
    assert radius(rows, farthest_rows(rows, 3, seed=seed)) <= 2 * best + 1e-6


def test_already_chosen_rows_are_avoided():
    rows = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    chosen = farthest_rows(rows, 2, taken=rows[[0, 5]])
    assert {int(row) // 5 for row in chosen} == {2, 3}


def test_equal_rows_are_each_taken_once():
    rows = np.repeat(random_rows(1, 3, 0), 6, axis=0)
    assert sorted(farthest_rows(rows, 6).tolist()) == list(range(6))
