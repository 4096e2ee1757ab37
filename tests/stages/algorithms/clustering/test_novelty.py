import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering.novelty import KNOWN, USUAL, fit_known, novelty

from ....strategies import random_rotation, random_unit_rows, seeds


def groups(n: int, seed: int) -> np.ndarray:
    """Unit rows around ten orthogonal directions of the first 20 of 40."""
    rows = np.zeros((n, 40), np.float32)
    rows[:, :20] = 0.3 * random_unit_rows(n, 20, seed).numpy()
    rows[np.arange(n), np.arange(n) % 10] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("n", [300, 3 * KNOWN])
def test_fitted_rows_are_not_novel(n: int) -> None:
    x = groups(n, 0)
    found = novelty(x, fit_known(x, 0))
    assert found.dtype == np.float32 and found.shape == (n,)
    assert (found <= 1 + 1e-3).mean() >= USUAL  # a quantile, and float32 cosines over the limit
    assert np.median(found) < 1


def test_fresh_rows_of_the_same_kind_are_mostly_not_novel() -> None:
    known = fit_known(groups(3 * KNOWN, 0), 0)
    # 1 in 1000 is expected; the limit is itself an estimate from three rows beyond it.
    assert (novelty(groups(5000, 1), known) > 1).mean() < 0.01


def test_orthogonal_rows_are_novel() -> None:
    known = fit_known(groups(2000, 0), 0)
    elsewhere = np.zeros((200, 40), np.float32)
    elsewhere[:, 20:] = random_unit_rows(200, 20, 3).numpy()
    assert novelty(elsewhere, known).min() > 1


@given(st.integers(2, 40), seeds)
def test_novelty_is_the_distance_to_the_nearest_other_row_over_its_usual_size(
    n: int, seed: int
) -> None:
    x = random_unit_rows(n, 5, seed).float().numpy()
    others = random_unit_rows(7, 5, seed + 1).float().numpy()
    about = x.astype(np.float64) - x.astype(np.float64).mean(0)
    about /= np.linalg.norm(about, axis=1, keepdims=True)
    cosine = about @ about.T
    np.fill_diagonal(cosine, -1)
    limit = np.quantile(1 - cosine.max(1), USUAL)
    rows = others.astype(np.float64) - x.astype(np.float64).mean(0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = (1 - (rows @ about.T).max(1)) / limit
    known = fit_known(x, 0)
    assert known.limit == pytest.approx(limit, abs=1e-5)  # float32
    # The float32 error of a cosine is divided by the limit.
    np.testing.assert_allclose(novelty(others, known), expected, rtol=1e-3, atol=1e-5 / limit)


@given(st.integers(2, 40), seeds)
def test_novelty_ignores_order_and_rotation(n: int, seed: int) -> None:
    x = random_unit_rows(n, 5, seed).float().numpy()
    rows = random_unit_rows(7, 5, seed + 1).float().numpy()
    order = np.random.default_rng(seed).permutation(n)
    turn = random_rotation(5, seed).float().numpy()
    known = fit_known(x, 0)
    turned = fit_known(x[order] @ turn, 1)
    found = novelty(rows, known)
    tolerance = 1e-5 / min(known.limit, 1)  # float32 cosines are divided by the limit
    np.testing.assert_allclose(novelty(rows @ turn, turned), found, rtol=1e-3, atol=tolerance)
    np.testing.assert_allclose(novelty(rows[::-1], known), found[::-1], atol=tolerance)


def test_equal_rows_are_not_novel_and_others_are_at_least_as_novel() -> None:
    x = np.repeat(random_unit_rows(1, 6, 0).float().numpy(), 500, axis=0)
    known = fit_known(x, 0)
    found = novelty(x, known)
    assert np.isfinite(found).all() and (found <= 1).all()
    assert (novelty(random_unit_rows(50, 6, 1).float().numpy(), known) >= found.max()).all()


def test_two_rows_are_enough() -> None:
    x = random_unit_rows(2, 6, 0).float().numpy()
    known = fit_known(x, 0)
    np.testing.assert_allclose(novelty(x, known), 0, atol=1e-6)  # float32
    # Minus their mean, two rows are opposite, so nothing is farther from both.
    assert known.limit == pytest.approx(2)
    assert (novelty(random_unit_rows(50, 6, 1).float().numpy(), known) <= 1).all()


def test_empty_input_is_no_error() -> None:
    known = fit_known(groups(20, 0), 0)
    assert novelty(np.empty((0, 40), np.float32), known).shape == (0,)


def test_the_same_seed_samples_the_same_rows() -> None:
    x = groups(2 * KNOWN, 0)
    one, other = fit_known(x, 3), fit_known(x, 3)
    assert len(one.rows) == KNOWN
    assert np.array_equal(one.rows, other.rows) and one.limit == other.limit


@given(st.integers(1, 30), st.integers(0, 5), seeds)
def test_the_nearest_known_row_is_found_exactly_among_nearly_equal_ones(
    distinct: int, roundings: int, seed: int
) -> None:
    # Rows that float32 products cannot tell apart.
    x = np.repeat(random_unit_rows(distinct, 9, seed).float().numpy(), 4, axis=0)
    x *= 1 + roundings * np.finfo(np.float32).eps * np.arange(len(x))[:, None].astype(np.float32)
    known = fit_known(x, 0)
    rows = random_unit_rows(50, 9, seed + 1).float().numpy()
    centred = rows - known.center
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = (centred / length).astype(np.float64) @ known.rows.T.astype(np.float64)
    expected = ((1 - cosine.max(1)) / known.limit).astype(np.float32)
    np.testing.assert_allclose(novelty(rows, known), expected, rtol=1e-7)
