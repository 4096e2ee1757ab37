import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering.verdict import RUNNERS_UP, judge

from ....strategies import seeds

GRID = [2, 4, 8, 16, 32]
SHARP = [50.0, 20.0, 10.0, 25.0, 60.0]


def shaken(curve: list[float], size: float, number: int, seed: int = 0) -> np.ndarray:
    """Curves with an independent error at every k."""
    noise = np.random.default_rng(seed).standard_normal((number, len(curve)))
    return np.array(curve) + size * noise


def nothing(grid: list[int]) -> np.ndarray:
    return np.empty((0, len(grid)))


def test_nothing_is_as_good_as_a_sharp_minimum() -> None:
    verdict = judge(GRID, SHARP, shaken(SHARP, 0.5, 8))
    assert verdict.chosen == 8
    assert verdict.as_good == (8,)
    assert not verdict.is_flat
    assert verdict.votes == (0, 0, 1, 0, 0)
    assert verdict.runners_up == (4, 16, 2)


def test_neighbours_of_a_flat_minimum_are_as_good() -> None:
    curve = [90.0, 10.2, 10.0, 10.2, 90.0]
    verdict = judge(GRID, curve, shaken(curve, 2.0, 40))
    assert verdict.chosen == 8
    assert verdict.as_good == (4, 8, 16)
    assert verdict.is_flat
    assert verdict.votes[0] == verdict.votes[4] == 0
    assert min(verdict.votes[1:4]) > 0


def test_a_shift_that_all_curves_share_makes_no_k_as_good() -> None:
    # Shifting a whole curve changes no difference.
    shift = np.array([[-30.0], [0.0], [30.0], [60.0]])
    verdict = judge(GRID, SHARP, np.array(SHARP) + shift + shaken([0.0] * 5, 0.1, 4))
    assert verdict.as_good == (8,)


def test_a_k_behind_a_worse_one_is_not_as_good() -> None:
    curve = [10.1, 40.0, 10.0, 10.1, 50.0]
    verdict = judge(GRID, curve, shaken(curve, 2.0, 40))
    assert verdict.as_good == (8, 16)


def test_without_resampled_curves_only_the_chosen_k_is_as_good() -> None:
    verdict = judge(GRID, [10.0] * 5, nothing(GRID))
    assert verdict.as_good == (verdict.chosen,)
    assert verdict.votes == (0,) * 5


def test_a_single_resampled_curve_votes_without_a_spread() -> None:
    verdict = judge(GRID, SHARP, np.array([[1.0, 0.0, 2.0, 3.0, 4.0]]))
    assert verdict.votes == (0, 1, 0, 0, 0)
    assert verdict.as_good == (8,)


def test_ties_go_to_the_smallest_k() -> None:
    verdict = judge(GRID, [5.0, 3.0, 3.0, 3.0, 5.0], np.array([[1.0, 1, 1, 1, 1]] * 2))
    assert verdict.chosen == 4
    assert verdict.runners_up == (8, 16, 2)
    assert verdict.votes == (1, 0, 0, 0, 0)


def test_a_grid_of_one_k_chooses_it() -> None:
    verdict = judge([7], [3.0], shaken([3.0], 1.0, 3))
    assert (verdict.chosen, verdict.as_good, verdict.votes) == (7, (7,), (1,))
    assert verdict.runners_up == ()


lengths = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=9)


@given(lengths, st.integers(0, 6), st.sampled_from([0.0, 0.3, 3.0]), seeds)
def test_the_chosen_k_is_among_those_as_good_which_have_no_gap(
    curve: list[float], resamples: int, size: float, seed: int
) -> None:
    grid = [2 + 3 * i for i in range(len(curve))]
    verdict = judge(grid, curve, shaken(curve, size, resamples, seed))
    assert curve[grid.index(verdict.chosen)] == min(curve)
    assert all(curve[i] > min(curve) for i in range(grid.index(verdict.chosen)))
    at = grid.index(verdict.as_good[0])
    assert tuple(grid[at : at + len(verdict.as_good)]) == verdict.as_good
    assert verdict.chosen in verdict.as_good
    assert verdict.is_flat == (len(verdict.as_good) > 1)
    assert len(verdict.votes) == len(grid)
    assert sum(verdict.votes) == pytest.approx(1 if resamples else 0)
    rest = sorted(set(grid) - {verdict.chosen}, key=lambda k: (curve[grid.index(k)], k))
    assert verdict.runners_up == tuple(rest[:RUNNERS_UP])


@given(lengths, st.integers(2, 6), seeds)
def test_k_are_as_good_by_the_spread_of_their_differences(
    curve: list[float], resamples: int, seed: int
) -> None:
    grid = [2 + 3 * i for i in range(len(curve))]
    resampled = shaken(curve, 1.0, resamples, seed)
    verdict = judge(grid, curve, resampled)
    best = grid.index(verdict.chosen)

    def is_good(i: int) -> bool:
        longer = [row[i] - row[best] for row in resampled]
        mean = sum(longer) / resamples
        spread = (sum((one - mean) ** 2 for one in longer) / (resamples - 1)) ** 0.5
        return mean <= spread

    first, last = grid.index(verdict.as_good[0]), grid.index(verdict.as_good[-1])
    assert all(is_good(i) for i in range(first, last + 1) if i != best)
    assert not any(is_good(i) for i in (first - 1, last + 1) if 0 <= i < len(grid))
