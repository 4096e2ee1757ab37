"""Clusters of rows and the order in which they are shown: against plain sorting."""

from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.serve.columns import Column, overlaps


@st.composite
def columns(draw):
    k = draw(st.integers(1, 5))
    rows = draw(st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, 4)), max_size=40))
    cluster = np.array([one for one, _ in rows], np.int32)
    confidence = np.array([sure / 4 for _, sure in rows], np.float32)
    return Column.of(cluster, confidence, k)


def by_confidence(column, rows):
    return sorted(rows, key=lambda row: (-column.confidence[row], row))


@given(columns())
def test_every_row_is_in_its_cluster_once_and_the_surest_is_first(column):
    found = [column.rows([one]).tolist() for one in range(column.k)]
    assert sorted(chain.from_iterable(found)) == list(range(len(column.cluster)))
    for cluster, rows in enumerate(found):
        assert rows == by_confidence(column, np.flatnonzero(column.cluster == cluster).tolist())


@given(columns(), st.data())
def test_clusters_together_are_sorted_as_one(column, data):
    some = data.draw(st.lists(st.integers(0, column.k - 1), unique=True))
    wanted = np.flatnonzero(np.isin(column.cluster, some)).tolist()
    assert column.rows(some).tolist() == by_confidence(column, wanted)


@given(columns(), st.data(), st.integers(1, 6))
def test_the_ends_are_those_of_all_rows_and_share_none(column, data, most):
    some = data.draw(st.lists(st.integers(0, column.k - 1), unique=True, min_size=1))
    rows = column.rows(some).tolist()
    sure, doubtful = (one.tolist() for one in column.ends(some, most))
    assert sure == rows[:most]
    assert not set(sure) & set(doubtful)
    left = [column.confidence[row] for row in rows if row not in sure]
    assert [column.confidence[row] for row in doubtful] == sorted(left)[:most]


@given(columns())
def test_overlaps_with_itself_are_its_sizes(column):
    found = overlaps(column.cluster, column.cluster, column.k, column.k)
    assert (found == np.diag(column.sizes)).all()


@given(columns())
def test_sums_are_those_of_each_cluster(column):
    values = np.arange(len(column.cluster)) + 1.0
    expected = [values[column.cluster == one].sum() for one in range(column.k)]
    assert column.sums(values).tolist() == expected
