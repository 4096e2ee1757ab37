from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering import code_lengths
from cpp_pipe.stages.algorithms.clustering.code_lengths import (
    CLOSE,
    RATIO,
    Ruler,
    explore,
    first_grid,
    resampled_curves,
)
from cpp_pipe.stages.algorithms.clustering.landmarks import (
    Landmarks,
    clustering_rows,
)
from cpp_pipe.stages.algorithms.coding_length import coding_length, coding_length_of_all
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.store.errors import NumericError

from ....strategies import random_labels, random_unit_rows, seeds
from .planted import GROUPS, landmarks_of, subspaces_in_turn

EPS_SQ = 0.1


def ruler_of(landmarks: Landmarks, z: np.ndarray, total: int | None = None) -> Ruler:
    points = clustering_rows(z, z)
    return Ruler.of(landmarks, z, points, total=total or len(z), eps_sq=EPS_SQ)


# The code of all rows, by a sample.


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), seeds)
def test_the_code_of_a_sample_of_all_rows_is_their_code(n: int, p: int, k: int, seed: int) -> None:
    z, labels = random_unit_rows(n, p, seed), random_labels(n, k, seed)
    found = coding_length_of_all(z, labels, k, eps_sq=EPS_SQ, total=n)
    assert found == pytest.approx(float(coding_length(z, labels, k, eps_sq=EPS_SQ).total))


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), st.integers(1, 1000), seeds)
def test_the_code_of_all_rows_is_the_formula_with_their_counts(
    n: int, p: int, k: int, times: int, seed: int
) -> None:
    z, labels = random_unit_rows(n, p, seed), random_labels(n, k, seed)
    expected = 0.0
    for cluster in range(k):
        rows = z[labels == cluster].numpy()
        m = len(rows)
        if m:
            gram = np.eye(p) + p / (m * EPS_SQ) * rows.T @ rows
            expected += (times * m + p) / 2 * np.linalg.slogdet(gram)[1]
            expected -= times * m * np.log(m / n)
    found = coding_length_of_all(z, labels, k, eps_sq=EPS_SQ, total=times * n)
    assert found == pytest.approx(expected)


def test_copies_of_rows_have_the_code_of_all_copies() -> None:
    z, labels = random_unit_rows(50, 6, 0), random_labels(50, 3, 0)
    copies = coding_length(z.repeat(7, 1), labels.repeat(7), 3, eps_sq=EPS_SQ).total
    found = coding_length_of_all(z, labels, 3, eps_sq=EPS_SQ, total=350)
    assert found == pytest.approx(float(copies))


@pytest.mark.parametrize("times", [1, 20])
def test_the_shortest_code_has_as_many_clusters_as_were_planted(times: int) -> None:
    z = subspaces_in_turn()
    ruler = ruler_of(landmarks_of(z[:360]), z[360:], total=times * 360)
    lengths = {k: ruler.length(k) for k in range(1, 13)}
    assert min(lengths, key=lambda k: lengths[k]) == GROUPS


def test_the_code_of_one_cluster_is_that_of_all_rows_at_once() -> None:
    z = subspaces_in_turn()[:200]
    ruler = ruler_of(landmarks_of(z), z)
    assert ruler.labels(1).tolist() == [0] * 200
    alone = torch.zeros(200, dtype=torch.int64)
    expected = coding_length(torch.from_numpy(z), alone, 1, eps_sq=EPS_SQ).total
    assert ruler.length(1) == pytest.approx(float(expected))


def test_a_distortion_below_the_precision_of_float64_is_reported() -> None:
    z = subspaces_in_turn()[:200]
    ruler = replace(ruler_of(landmarks_of(z), z), eps_sq=1e-30)
    with pytest.raises(NumericError, match="of 4 clusters is not finite at eps_sq 1e-30: raise"):
        ruler.length(4)


def test_a_ruler_keeps_the_clusters_of_landmarks() -> None:
    z = subspaces_in_turn()
    landmarks = landmarks_of(z)
    clusters, _ = landmarks.cluster(GROUPS)
    assert accuracy(clusters, ruler_of(landmarks, z).labels(GROUPS)) == 1


@pytest.mark.parametrize("many", [8, 9])
def test_only_few_clusters_take_the_shortest_code_of_several_starts(
    monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    z = subspaces_in_turn()[:150]
    landmarks = landmarks_of(z)
    monkeypatch.setattr(code_lengths, "MANY", many)
    rows = torch.from_numpy(z)

    def code(labels: np.ndarray) -> float:
        return float(coding_length(rows, torch.from_numpy(labels), 9, eps_sq=EPS_SQ).total)

    starts = range(code_lengths.RESTARTS)
    codes = [code(landmarks.cluster(9, 1, start)[0]) for start in starts]
    assert min(codes) < codes[0]  # else all starts would be equal
    ruler = ruler_of(landmarks, z)
    assert ruler.length(9) == pytest.approx(min(codes) if many == 9 else codes[0])
    assert code(ruler.labels(9)) == pytest.approx(ruler.length(9))


# Outliers.


def test_outliers_make_one_loose_cluster() -> None:
    z = np.concatenate([subspaces_in_turn(), random_unit_rows(60, 32, 5).float().numpy()])
    ruler = ruler_of(landmarks_of(z), z)
    assert ruler.loose(GROUPS + 1) == 1


def test_without_outliers_no_cluster_is_loose() -> None:
    z = subspaces_in_turn()
    ruler = ruler_of(landmarks_of(z), z)
    assert [ruler.loose(k) for k in (1, 2, GROUPS, GROUPS + 1, 12)] == [0] * 5


# The grid.


@given(st.integers(2, 5000))
def test_the_first_grid_rises_from_two_to_k_max_by_a_ratio(k_max: int) -> None:
    grid = first_grid(k_max)
    assert grid[0] == 2 and grid[-1] == k_max
    for a, b in pairwise(grid):
        # Each is rounded, so a ratio of neighbours is off by one half at either end.
        assert a < b <= max(a + 1, RATIO * (a + 0.5) + 0.5)
    assert len(grid) <= 3 + np.log(k_max) / np.log(RATIO)


@pytest.mark.parametrize("k_max", [1, 2, 3])
def test_a_small_first_grid_holds_every_k(k_max: int) -> None:
    assert first_grid(k_max) == [k for k in (1, 2, 3) if k <= k_max and (k > 1 or k_max == 1)]


def explored(length: Callable[[int], float], k_max: int) -> dict[int, float]:
    """The explored lengths; checks that no k is measured twice."""
    asked: list[int] = []

    def counted(k: int) -> float:
        asked.append(k)
        return length(k)

    found = list(explore(counted, k_max))
    assert [k for k, _ in found] == asked
    assert len(set(asked)) == len(asked)
    return dict(found)


@given(st.integers(1, 3000), seeds)
def test_no_k_is_tried_twice_and_the_best_has_close_neighbours(k_max: int, seed: int) -> None:
    # A random curve is the worst case.
    heights = np.random.default_rng(seed).standard_normal(k_max + 1)
    found = explored(lambda k: float(heights[k]), k_max)
    grid = sorted(found)
    assert all(min(2, k_max) <= k <= k_max for k in grid)
    assert k_max in found and set(first_grid(k_max)) <= set(grid)
    assert all(found[k] == heights[k] for k in grid)
    best = min(grid, key=lambda k: (found[k], k))
    at = grid.index(best)
    beside = [grid[i] for i in (at - 1, at + 1) if 0 <= i < len(grid)]
    assert all(abs(k - best) <= max(1, CLOSE * best) for k in beside)


@given(st.integers(2, 199), st.integers(1, 250), st.floats(0.2, 3))
def test_the_minimum_of_a_convex_curve_is_found_exactly(
    k_max: int, lowest: int, steepness: float
) -> None:
    # Below 200, 1 % is less than two, so the neighbours of the best k are adjacent.
    def length(k: int) -> float:
        return steepness * (k - lowest) if k > lowest else float(lowest - k)

    found = explored(length, k_max)
    best = min(found, key=lambda k: (found[k], k))
    assert best == min(max(lowest, 2), k_max)


@given(st.integers(200, 5000), st.integers(200, 5000))
def test_the_minimum_of_a_long_convex_curve_is_found_within_a_share(
    k_max: int, lowest: int
) -> None:
    found = explored(lambda k: float((k - lowest) ** 2), k_max)
    best = min(found, key=lambda k: (found[k], k))
    expected = min(lowest, k_max)
    assert abs(best - expected) <= CLOSE * best
    # A first grid, a bisection on either side, and a few where it bends.
    assert len(found) <= len(first_grid(k_max)) + 2 * int(np.log2(k_max)) + 12


def test_bends_of_a_curve_get_more_points_on_both_sides() -> None:
    # The shortest code is at 4, and there is a bend at 64.
    found = explored(lambda k: abs(k - 4.0) + 30 * max(0, k - 64), 256)
    grid = sorted(found)
    first = first_grid(256)
    at = min(range(len(first)), key=lambda i: abs(first[i] - 64))
    more = [k for k in grid if first[at - 1] < k < first[at + 1] and k not in first]
    assert len(more) >= 2


# Curves of resampled landmarks.


def test_there_are_as_many_resampled_curves_as_requested() -> None:
    z = subspaces_in_turn()[:300]
    grid = [2, 4, 6, 8]
    ruler = ruler_of(landmarks_of(z), z)
    curves = list(resampled_curves(ruler, grid, 3, 0))
    assert [len(curve) for curve in curves] == [4] * 3
    assert curves[0] != curves[1] != curves[2]
    assert list(resampled_curves(ruler, grid, 3, 0)) == curves
    assert list(resampled_curves(ruler, grid, 3, 9)) != curves
    # More resamples start with the same curves.
    assert list(resampled_curves(ruler, grid, 2, 0)) == curves[:2]
    assert list(resampled_curves(ruler, grid, 0, 0)) == []


def test_resampled_curves_are_lowest_where_the_curve_is() -> None:
    z = subspaces_in_turn()
    ruler = ruler_of(landmarks_of(z), z)
    grid = [3, 5, 6, 7, 10]
    curves = np.array(list(resampled_curves(ruler, grid, 4, 0)))
    assert (curves.argmin(1) == grid.index(GROUPS)).mean() >= 0.5
    # They measure the code of the same rows: they agree where the clusters agree.
    assert curves[:, 2].min() == pytest.approx(ruler.length(GROUPS), rel=0.01)


def test_too_few_resampled_landmarks_for_k_use_the_largest_k() -> None:
    z = subspaces_in_turn()[:6]
    ruler = ruler_of(landmarks_of(z), z)
    (curve,) = resampled_curves(ruler, [2, 3, 6], 1, 0)
    assert np.isfinite(curve).all()
    assert curve[1] == curve[2]  # half of six landmarks
