"""Counts and samples cover every row once, and do not depend on how rows are cut into parts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.report.counts import (
    BINS,
    count,
    draw_sample,
    sample_clusters,
    sample_overall,
    surest_and_doubtful,
)

K = 5


def make_columns(n, seed=0):
    """Clusters, confidences and novelties of n rows."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(0, K, n).astype(np.int32),
        generator.random(n).astype(np.float32),
        (2.5 * generator.random(n)).astype(np.float32),
    )


def count_parts(arrays, cuts):
    """Counts over parts that end at the cuts."""
    edges = [0, *sorted(cuts), len(arrays[0])]
    parts = []
    for first, last in pairwise(edges):
        columns = tuple(array[first:last] for array in arrays)
        parts.append((*columns, lambda row, first=first: str(first + row)))
    return count(parts, K)


@given(st.integers(1, 60), st.integers(0, 99), st.lists(st.integers(0, 60), max_size=3))
def test_counts_do_not_depend_on_how_rows_are_cut_into_parts(n, seed, cuts):
    arrays = make_columns(n, seed)
    whole, parts = count_parts(arrays, []), count_parts(arrays, [min(cut, n) for cut in cuts])
    for name in ("sizes", "far", "bins", "novelty_bins"):
        assert getattr(whole, name).tolist() == getattr(parts, name).tolist()
    assert whole.confidence == pytest.approx(parts.confidence, nan_ok=True)
    assert whole.surest == parts.surest


def test_every_row_is_counted_once():
    cluster, confidence, novelty = arrays = make_columns(300)
    tally = count_parts(arrays, [100])
    assert tally.sizes.tolist() == np.bincount(cluster, minlength=K).tolist()
    assert tally.rows == tally.bins.sum() == tally.novelty_bins.sum() == 300
    assert tally.far.sum() == (novelty > 1).sum()
    for number in range(K):
        inside = cluster == number
        assert tally.confidence[number] == pytest.approx(confidence[inside].mean())
        surest = np.flatnonzero(inside)[confidence[inside].argmax()]
        assert tally.surest[number] == str(surest)
    assert tally.median_confidence == pytest.approx(np.sort(confidence)[149], abs=1 / BINS)


def test_an_empty_cluster_has_no_confidence_and_no_surest_row():
    tally = count([(np.array([0, 2]), np.ones(2), np.zeros(2), str)], 3)
    assert tally.sizes.tolist() == [1, 0, 1]
    assert np.isnan(tally.confidence[1]) and tally.surest == ["0", None, "1"]
    assert tally.largest_first == [0, 2, 1]


@given(st.lists(st.integers(0, 200), max_size=3))
def test_drawn_rows_do_not_depend_on_how_rows_are_cut_into_parts(cuts):
    cluster = make_columns(200)[0]
    whole = sample_clusters([cluster], [3, 1], 10, seed=7)
    parts = np.split(cluster, sorted(cuts))
    cut = sample_clusters(parts, [3, 1], 10, seed=7)
    assert list(whole) == list(cut) == [3, 1]
    for number, rows in whole.items():
        assert rows.tolist() == cut[number].tolist()
        assert set(cluster[rows]) == {number}
        assert len(set(rows.tolist())) == 10


def test_a_sample_holds_distinct_ascending_rows():
    assert sample_overall(5, 10, seed=0).tolist() == [0, 1, 2, 3, 4]
    rows = sample_overall(10_000, 500, seed=0)
    assert len(rows) == 500 and (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < 10_000


def test_the_heat_map_shows_a_small_cluster_whole_and_a_share_of_a_large_one():
    of_cluster = {4: np.arange(100), 2: np.arange(3)}
    assert draw_sample(np.arange(103), of_cluster, 40).heat_map_rows == {4: 20, 2: 3}


@given(
    st.integers(1, 60),
    st.integers(0, 99),
    st.integers(1, 4),
    st.integers(0, 3),
    st.lists(st.integers(0, 60), max_size=3),
)
def test_members_are_both_ends_of_the_order_by_confidence(n, seed, most, few, cuts):
    cluster, confidence, _ = make_columns(n, seed)
    confidence = np.round(confidence, 1)  # some are equal
    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [(cluster[low:high], confidence[low:high]) for low, high in pairwise(edges)]
    found = surest_and_doubtful(parts, [3, 1], most, few)
    assert list(found) == [3, 1]
    for number, (surest, doubtful) in found.items():
        inside = np.flatnonzero(cluster == number)
        order = inside[np.argsort(-confidence[inside], kind="stable")].tolist()
        assert surest == order[:most]
        assert doubtful == order[most:][::-1][:few]
