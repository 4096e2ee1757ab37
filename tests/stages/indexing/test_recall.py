"""Exact neighbours block by block, and recall."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.indexing.recall import NEIGHBOURS, Nearest, merge, nearest_of, none_yet, recall

from ..indexes import made_rows

seeds = st.integers(0, 2**31 - 1)
NOBODY = np.full(5, -1)


def truth_of(queries, z, own, cut: int) -> Nearest:
    found = none_yet(len(queries))
    for start in range(0, len(z), cut):
        found = merge(found, nearest_of(queries, z[start : start + cut], start, own))
    return found


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 25), seeds)
def test_blocks_of_any_size_give_the_neighbours_that_comparing_all_gives(rows, cut, seed):
    z = made_rows(rows, seed).astype(np.float32)
    own = np.random.default_rng(seed).integers(rows, size=5)
    found = truth_of(z[own], z, own, cut)
    for query, mine, got in zip(z[own], own, found.rows, strict=True):
        similarities = z @ query
        similarities[mine] = -np.inf
        right = np.argsort(-similarities, kind="stable")[: min(NEIGHBOURS, rows - 1)]
        assert set(got[got >= 0].tolist()) == set(right.tolist())
        assert (got[len(right) :] == -1).all()


@given(seeds)
def test_all_that_is_true_is_a_recall_of_one_and_one_own_row_does_not_help(seed):
    z = made_rows(50, seed).astype(np.float32)
    own = np.arange(5)
    truth = truth_of(z[own], z, own, 50)
    assert recall(truth, truth, own) == 1
    assert recall(none_yet(5), truth, own) == 0
    only_own = Nearest(np.ones((5, 1), np.float32), own[:, None])
    assert recall(only_own, truth, own) == 0
    half = Nearest(truth.similarities[:, ::2], truth.rows[:, ::2])
    assert recall(half, truth, own) == 0.5


def test_copies_of_a_neighbour_stand_for_it():
    z = np.repeat(made_rows(1).astype(np.float32), 40, axis=0)
    truth = truth_of(z[:5], z, NOBODY, 40)
    others = Nearest(truth.similarities, truth.rows + 20)
    assert recall(others, truth, NOBODY) == 1


def test_without_neighbours_nothing_is_missed():
    z = made_rows(1).astype(np.float32)
    truth = truth_of(z, z, np.zeros(1, np.int64), 1)
    assert (truth.rows == -1).all()
    assert recall(truth, truth, np.zeros(1, np.int64)) == 1
