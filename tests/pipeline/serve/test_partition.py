"""Rows by cluster and confidence, against plain sorting."""

import tracemalloc
from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.serve.partition import Partition, count_overlaps


@st.composite
def partitions(draw):
    k = draw(st.integers(1, 5))
    rows = draw(st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, 4)), max_size=40))
    cluster = np.array([number for number, _ in rows], np.int32)
    confidence = np.array([quarters / 4 for _, quarters in rows], np.float32)
    return Partition.of(cluster, confidence, k)


def by_confidence(partition, rows):
    return sorted(rows, key=lambda row: (-partition.confidence[row], row))


@given(partitions())
def test_every_row_is_in_its_cluster_once_the_most_confident_first(partition):
    by_cluster = [partition.rows([cluster]).tolist() for cluster in range(partition.k)]
    assert sorted(chain.from_iterable(by_cluster)) == list(range(len(partition.cluster)))
    for cluster, rows in enumerate(by_cluster):
        members = np.flatnonzero(partition.cluster == cluster).tolist()
        assert rows == by_confidence(partition, members)


@given(partitions(), st.data())
def test_several_clusters_are_sorted_as_one(partition, data):
    clusters = data.draw(st.lists(st.integers(0, partition.k - 1), unique=True))
    members = np.flatnonzero(np.isin(partition.cluster, clusters)).tolist()
    assert partition.rows(clusters).tolist() == by_confidence(partition, members)


@given(partitions(), st.data(), st.integers(1, 6))
def test_the_ends_are_the_surest_and_most_doubtful_rows_without_overlap(partition, data, n):
    clusters = data.draw(st.lists(st.integers(0, partition.k - 1), unique=True, min_size=1))
    rows = partition.rows(clusters).tolist()
    sure, doubtful = (end.tolist() for end in partition.ends(clusters, n))
    assert sure == rows[:n]
    assert not set(sure) & set(doubtful)
    rest = [partition.confidence[row] for row in rows if row not in sure]
    assert [partition.confidence[row] for row in doubtful] == sorted(rest)[:n]


@given(partitions(), st.data())
def test_rows_in_other_clusters_are_sorted_as_from_the_start(partition, data):
    k = data.draw(st.integers(1, 70_000))
    rows = len(partition.cluster)
    numbers = data.draw(st.lists(st.integers(0, k), min_size=rows, max_size=rows))
    cluster = np.array(numbers, np.int32)
    regrouped = partition.regrouped(cluster, k)
    expected = Partition.of(cluster, partition.confidence, k + 1)
    assert regrouped.k == k
    assert regrouped.order.tolist() == expected.order.tolist()
    assert regrouped.starts.tolist() == expected.starts[:-1].tolist()
    assert len(regrouped.sums(partition.confidence)) == k


@given(partitions())
def test_rows_in_no_cluster_overlap_with_none(partition):
    cluster = np.full(len(partition.cluster), 2, np.int32)
    none = partition.regrouped(cluster, 2)
    overlaps = count_overlaps(none.cluster, partition.cluster, none.k, partition.k)
    assert not overlaps.any() and not none.sizes.any()


@given(partitions())
def test_overlaps_of_a_partition_with_itself_are_its_sizes(partition):
    k = partition.k
    overlaps = count_overlaps(partition.cluster, partition.cluster, k, k)
    assert (overlaps == np.diag(partition.sizes)).all()


def test_overlaps_of_very_many_clusters_take_memory_for_their_rows_only():
    """Each decision in a run of 20,000 clusters counted 20,000 x 20,000 overlaps: 3.2 GB."""
    k = 20_000
    cluster = np.arange(2 * k, dtype=np.int32) % (k + 1)  # k is in none
    other = np.arange(2 * k, dtype=np.int32)[::-1] % k
    tracemalloc.start()
    try:
        overlaps = count_overlaps(cluster, other, k, k)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()
    for some in ([3], [0, 3, 77]):
        members = np.isin(cluster, some)
        expected = np.bincount(other[members], minlength=k)
        assert overlaps[some].sum(0).tolist() == expected.tolist()


@given(partitions())
def test_sums_are_taken_over_each_cluster(partition):
    values = np.arange(len(partition.cluster)) + 1.0
    expected = [values[partition.cluster == cluster].sum() for cluster in range(partition.k)]
    assert partition.sums(values).tolist() == expected


def test_a_partition_that_failed_to_be_written_is_written_next_time(tmp_path):
    """After a full disk the folder stayed, and every later try failed."""
    partition = Partition.of(np.zeros(3, np.int32), np.ones(3, np.float32), 1)
    folder = tmp_path / "serve" / "k-1"
    folder.mkdir(parents=True)
    (folder / "0.npy").write_bytes(b"cut")
    assert partition.mapped(folder).rows([0]).tolist() == [0, 1, 2]
    assert partition.mapped(tmp_path / "gone" / "k-1").rows([0]).tolist() == [0, 1, 2]
