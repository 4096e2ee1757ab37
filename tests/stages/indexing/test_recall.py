"""Exact neighbours block by block, and recall."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.indexing.recall import (
    NEIGHBOURS,
    Nearest,
    measure_recall,
    merge_nearest,
    nearest_in_block,
    no_neighbours,
)

from ..indexes import made_rows

seeds = st.integers(0, 2**31 - 1)
NO_OWN_ROWS = np.full((5, 1), -1)


def truth_of(queries, z, own, cut: int) -> Nearest:
    found = no_neighbours(len(queries))
    for start in range(0, len(z), cut):
        nearest = nearest_in_block(queries, z[start : start + cut], start, own)
        found = merge_nearest(found, nearest)
    return found


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 25), seeds)
def test_blocks_of_any_size_give_the_exact_neighbours(rows, cut, seed):
    z = made_rows(rows, seed).astype(np.float32)
    own = np.random.default_rng(seed).integers(rows, size=5)
    found = truth_of(z[own], z, own, cut)
    for query, own_row, nearest in zip(z[own], own, found.rows, strict=True):
        similarities = z @ query
        similarities[own_row] = -np.inf
        expected = np.argsort(-similarities, kind="stable")[: min(NEIGHBOURS, rows - 1)]
        assert set(nearest[nearest >= 0].tolist()) == set(expected.tolist())
        assert (nearest[len(expected) :] == -1).all()


@given(seeds)
def test_recall_is_the_share_of_true_neighbours_without_own_rows(seed):
    z = made_rows(50, seed).astype(np.float32)
    own = np.arange(5)
    truth = truth_of(z[own], z, own, 50)
    assert measure_recall(truth, truth, own[:, None]) == 1
    assert measure_recall(no_neighbours(5), truth, own[:, None]) == 0
    only_own = Nearest(np.ones((5, 1), np.float32), own[:, None])
    assert measure_recall(only_own, truth, own[:, None]) == 0
    half = Nearest(truth.similarities[:, ::2], truth.rows[:, ::2])
    assert measure_recall(half, truth, own[:, None]) == 0.5


def test_a_copy_of_a_neighbour_counts_as_that_neighbour():
    z = np.repeat(made_rows(1).astype(np.float32), 40, axis=0)
    truth = truth_of(z[:5], z, NO_OWN_ROWS[:, 0], 40)
    others = Nearest(truth.similarities, truth.rows + 20)
    assert measure_recall(others, truth, NO_OWN_ROWS) == 1


def test_copies_of_the_last_neighbour_do_not_count_as_better_ones():
    similarities = np.array([[0.9, 0.8, 0.8, *[0.5] * 7]], np.float32)
    truth = Nearest(similarities, np.arange(10)[None])
    copies = Nearest(np.full((1, 10), 0.5, np.float32), np.arange(100, 110)[None])
    assert measure_recall(copies, truth, NO_OWN_ROWS[:1]) == 0.7
    # Three of the neighbours themselves, and copies.
    mixed = Nearest(similarities, np.array([[0, 1, 2, *range(100, 107)]]))
    assert measure_recall(mixed, truth, NO_OWN_ROWS[:1]) == 1


def test_recall_is_one_where_there_are_no_neighbours():
    z = made_rows(1).astype(np.float32)
    truth = truth_of(z, z, np.zeros(1, np.int64), 1)
    assert (truth.rows == -1).all()
    assert measure_recall(truth, truth, np.zeros((1, 1), np.int64)) == 1
