"""Counts and samples: of every row once, and the same however rows are cut into parts."""

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


def columns(n, seed=0):
    generator = np.random.default_rng(seed)
    return (
        generator.integers(0, K, n).astype(np.int32),
        generator.random(n).astype(np.float32),
        (2.5 * generator.random(n)).astype(np.float32),
    )


def counted(arrays, cuts):
    """Counts over parts that end at some cuts."""
    edges = [0, *sorted(cuts), len(arrays[0])]
    parts = []
    for first, last in pairwise(edges):
        some = tuple(one[first:last] for one in arrays)
        parts.append((*some, lambda row, first=first: str(first + row)))
    return count(parts, K)


@given(st.integers(1, 60), st.integers(0, 99), st.lists(st.integers(0, 60), max_size=3))
def test_counts_do_not_depend_on_how_rows_are_cut_into_parts(n, seed, cuts):
    arrays = columns(n, seed)
    whole, cut = counted(arrays, []), counted(arrays, [min(one, n) for one in cuts])
    for name in ("sizes", "far", "bins", "novelty_bins"):
        assert getattr(whole, name).tolist() == getattr(cut, name).tolist()
    assert whole.confidence == pytest.approx(cut.confidence, nan_ok=True)
    assert whole.surest == cut.surest


def test_every_row_is_counted_once():
    cluster, confidence, novelty = arrays = columns(300)
    tally = counted(arrays, [100])
    assert tally.sizes.tolist() == np.bincount(cluster, minlength=K).tolist()
    assert tally.rows == tally.bins.sum() == tally.novelty_bins.sum() == 300
    assert tally.far.sum() == (novelty > 1).sum()
    for one in range(K):
        inside = cluster == one
        assert tally.confidence[one] == pytest.approx(confidence[inside].mean())
        surest = np.flatnonzero(inside)[confidence[inside].argmax()]
        assert tally.surest[one] == str(surest)
    assert tally.median_confidence == pytest.approx(np.sort(confidence)[149], abs=1 / BINS)


def test_an_empty_cluster_has_no_confidence_and_no_surest_row():
    tally = count([(np.array([0, 2]), np.ones(2), np.zeros(2), str)], 3)
    assert tally.sizes.tolist() == [1, 0, 1]
    assert np.isnan(tally.confidence[1]) and tally.surest == ["0", None, "1"]
    assert tally.largest_first == [0, 2, 1]


@given(st.lists(st.integers(0, 200), max_size=3))
def test_the_rows_that_are_drawn_do_not_depend_on_how_rows_are_cut_into_parts(cuts):
    cluster = columns(200)[0]
    whole = sample_clusters([cluster], [3, 1], 10, seed=7)
    parts = np.split(cluster, sorted(cuts))
    cut = sample_clusters(parts, [3, 1], 10, seed=7)
    assert list(whole) == list(cut) == [3, 1]
    for one in whole:
        assert whole[one].tolist() == cut[one].tolist()
        assert set(cluster[whole[one]]) == {one}
        assert len(set(whole[one].tolist())) == 10


def test_a_sample_is_of_different_ascending_rows():
    assert sample_overall(5, 10, seed=0).tolist() == [0, 1, 2, 3, 4]
    rows = sample_overall(10_000, 500, seed=0)
    assert len(rows) == 500 and (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < 10_000


def test_a_small_cluster_is_pictured_whole_and_a_large_one_by_its_share():
    of_cluster = {4: np.arange(100), 2: np.arange(3)}
    assert draw_sample(np.arange(103), of_cluster, 40).pictured == {4: 20, 2: 3}


@given(
    st.integers(1, 60),
    st.integers(0, 99),
    st.integers(1, 4),
    st.integers(0, 3),
    st.lists(st.integers(0, 60), max_size=3),
)
def test_members_are_the_ends_of_the_whole_order(n, seed, most, few, cuts):
    cluster, confidence, _ = columns(n, seed)
    confidence = np.round(confidence, 1)  # some are equal
    edges = [0, *sorted(min(one, n) for one in cuts), n]
    parts = [(cluster[low:high], confidence[low:high]) for low, high in pairwise(edges)]
    found = surest_and_doubtful(parts, [3, 1], most, few)
    assert list(found) == [3, 1]
    for one, (surest, doubtful) in found.items():
        inside = np.flatnonzero(cluster == one)
        order = inside[np.argsort(-confidence[inside], kind="stable")].tolist()
        assert surest == order[:most]
        assert doubtful == order[most:][::-1][:few]
