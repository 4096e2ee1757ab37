import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering.sampling import allocate, choose_landmarks, choose_rows

from ....strategies import random_rows, random_unit_rows, seeds

cell_counts = st.lists(st.integers(0, 200), max_size=20).map(lambda one: np.array(one, np.int64))


def rare_group(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tight groups around random directions, the last of them rare, and which rows are in it."""
    generator = np.random.default_rng(seed)
    rare = np.arange(n) < round(share * n)
    centres = random_unit_rows(20, 32, seed).numpy()
    group = np.where(rare, 19, generator.integers(0, 19, n))
    rows = centres[group] + 0.05 * generator.standard_normal((n, 32))
    order = generator.permutation(n)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True))[order].astype(np.float32), rare[
        order
    ]


@given(cell_counts, st.integers(0, 3000))
def test_cells_give_the_requested_rows_and_never_more_than_they_have(
    counts: np.ndarray, m: int
) -> None:
    given_ = allocate(counts, m)
    assert given_.sum() == min(m, counts.sum())
    assert ((given_ >= 0) & (given_ <= counts)).all()
    if m >= counts.sum():
        assert np.array_equal(given_, counts)


@given(cell_counts, st.integers(0, 3000))
def test_a_larger_cell_never_gives_less(counts: np.ndarray, m: int) -> None:
    order = np.argsort(counts, kind="stable")
    given_ = allocate(counts, m)[order]
    larger = np.diff(counts[order]) > 0
    assert (np.diff(given_)[larger] >= 0).all()
    # Equal cells differ by one where the rows cannot be divided.
    assert (np.abs(np.diff(given_)[~larger]) <= 1).all()


@given(st.lists(st.integers(1000, 100_000), min_size=1, max_size=12), st.integers(0, 1000))
def test_cells_give_by_the_root_of_their_counts_to_within_one(counts: list[int], m: int) -> None:
    root = np.sqrt(counts)  # none of these is used up
    given_ = allocate(np.array(counts), m)
    assert (np.abs(given_ - m * root / root.sum()) < 1).all()


def test_remainders_are_not_only_given_to_large_cells() -> None:
    # Rounding the remainders down again once gave the last cell all four.
    assert allocate(np.array([1000, 1000, 1000, 9000]), 4).tolist() == [1, 1, 0, 2]


def test_other_cells_give_what_a_small_cell_lacks() -> None:
    assert allocate(np.array([1, 0, 100, 100]), 41).tolist() == [1, 0, 20, 20]
    assert allocate(np.array([4, 9, 16]), 18).tolist() == [4, 6, 8]
    assert allocate(np.array([], np.int64), 5).tolist() == []
    assert allocate(np.array([0, 0]), 5).tolist() == [0, 0]


@given(st.integers(0, 40), st.integers(1, 40), seeds)
def test_chosen_rows_are_distinct_and_in_order(n: int, m: int, seed: int) -> None:
    rows = choose_rows(n, m, seed)
    assert rows.dtype == np.int64
    assert len(rows) == min(n, m)
    assert (np.diff(rows) > 0).all()
    assert set(rows.tolist()) <= set(range(n))
    assert np.array_equal(rows, choose_rows(n, m, seed))


def test_chosen_rows_are_spread_evenly() -> None:
    drawn = np.concatenate([choose_rows(20, 5, seed) for seed in range(2000)])
    share = np.bincount(drawn, minlength=20) / 2000
    assert abs(share - 0.25).max() < 0.05  # five standard errors


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 120), seeds)
def test_landmarks_are_distinct_candidates_in_order(n: int, m: int, seed: int) -> None:
    points = random_rows(n, 4, seed)
    rows = choose_landmarks(points, m, seed)
    assert rows.dtype == np.int64
    assert len(rows) == min(n, m)
    assert (np.diff(rows) > 0).all()
    assert set(rows.tolist()) <= set(range(n))
    if n <= m:
        assert rows.tolist() == list(range(n))


def test_the_same_seed_gives_the_same_landmarks_and_another_gives_others() -> None:
    points = random_rows(3000, 8, 0)
    rows = choose_landmarks(points, 300, 1)
    assert np.array_equal(rows, choose_landmarks(points, 300, 1))
    assert not np.array_equal(rows, choose_landmarks(points, 300, 2))


def test_a_rare_far_group_has_twice_its_even_share_of_the_landmarks() -> None:
    found = []
    for seed in range(8):
        points, rare = rare_group(10_000, 0.002, seed)
        found.append(int(rare[choose_landmarks(points, 500, seed)].sum()))
    # A uniform draw would take one of its twenty; by the root of its count it gives 3 to 4.
    assert np.mean(found) >= 2
    assert min(found) >= 1


def test_groups_of_any_size_get_landmarks() -> None:
    points, rare = rare_group(10_000, 0.3, 0)
    share = rare[choose_landmarks(points, 500, 0)].mean()
    assert 0.02 < share < 0.3  # a large group gives fewer than its uniform share, but some


@pytest.mark.parametrize("distinct", [1, 2, 7])
def test_thousands_of_duplicates_are_no_error(distinct: int) -> None:
    which = np.sort(np.random.default_rng(0).integers(0, distinct, 4000))
    points = random_rows(distinct, 6, 0)[which]
    rows = choose_landmarks(points, 320, 0)
    assert len(np.unique(rows)) == 320
    assert set(which[rows].tolist()) == set(which.tolist())
