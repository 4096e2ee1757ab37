"""New clusters get the numbers of the old clusters that they match."""

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering.cluster_numbers import count_overlaps, match_numbers

LABELS = st.integers(1, 40).flatmap(
    lambda rows: st.tuples(
        st.lists(st.integers(0, 4), min_size=rows, max_size=rows),
        st.lists(st.integers(-1, 5), min_size=rows, max_size=rows),
    )
)


@given(LABELS, st.integers(5, 6))
def test_the_numbering_keeps_the_most_rows_and_uses_each_number_once(labels, k):
    new, old = map(np.array, labels)
    order = match_numbers(count_overlaps(new, old, k))
    assert sorted(order.tolist()) == list(range(k))
    kept = int((order[new] == old).sum())
    assert kept == max(int((np.array(other)[new] == old).sum()) for other in permutations(range(k)))


@given(st.lists(st.integers(0, 7), min_size=1), st.permutations(range(8)))
def test_the_same_clusters_get_their_old_numbers_back(labels, names):
    old = np.array(labels)
    order = match_numbers(count_overlaps(np.array(names)[old], old, 8))
    np.testing.assert_array_equal(order[np.array(names)[old]], old)


def test_clusters_of_new_rows_keep_their_numbers():
    new, old = np.array([0, 1, 2]), np.array([-1, -1, -1])
    assert match_numbers(count_overlaps(new, old, 3)).tolist() == [0, 1, 2]
