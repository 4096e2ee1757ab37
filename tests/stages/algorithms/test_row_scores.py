"""Scores by text are margins in units of chance; a linear head is a product."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.row_scores import linear_scores, text_scores

from ...strategies import random_rows

D = 16
"""The size of the embeddings."""


@given(st.integers(0, 999))
def test_a_score_by_text_is_the_z_score_among_random_words(seed):
    x, words = random_rows(5, D, seed), random_rows(12, D, seed + 1)
    text = random_rows(1, D, seed + 2)[0]
    for row, score in zip(x, text_scores(x, text, words), strict=True):
        cosines = [float(row @ word) for word in words]
        z = (float(row @ text) - np.mean(cosines)) / np.std(cosines, ddof=1)
        assert score == pytest.approx(z, rel=1e-3, abs=1e-4)


@given(st.integers(0, 999))
def test_with_another_text_the_scale_is_that_of_pairs_of_random_words(seed):
    x, words = random_rows(4, D, seed), random_rows(9, D, seed + 1)
    text, unlike = random_rows(2, D, seed + 2)
    for row, score in zip(x, text_scores(x, text, words, unlike), strict=True):
        cosines = words @ row
        margins = (cosines[:, None] - cosines)[~np.eye(len(words), dtype=bool)]
        assert abs(margins.mean()) < 1e-6  # like a random pair: 0
        z = float(row @ text - row @ unlike) / margins.std()
        assert score == pytest.approx(z, rel=1e-3, abs=1e-4)


def test_random_words_score_zero_on_average_with_a_spread_of_one():
    x, words = random_rows(30, D, 0), random_rows(64, D, 1)
    scores = np.stack([text_scores(x, word, words) for word in words])
    assert scores.mean(0) == pytest.approx(0, abs=1e-5)
    assert scores.std(0, ddof=1) == pytest.approx(1, abs=1e-4)


def test_exchanged_texts_give_the_opposite_score():
    x, words = random_rows(30, D, 0), random_rows(64, D, 1)
    first, second = random_rows(2, D, 2)
    there, back = text_scores(x, first, words, second), text_scores(x, second, words, first)
    np.testing.assert_allclose(there, -back, rtol=1e-6)


def test_a_linear_score_is_a_product_and_a_bias():
    x, weight = random_rows(7, D, 0), random_rows(1, D, 1)[0]
    expected = [sum(float(a) * float(b) for a, b in zip(row, weight, strict=True)) + 2 for row in x]
    np.testing.assert_allclose(linear_scores(x, weight, 2.0), expected, rtol=1e-6)
    assert linear_scores(x[:0], weight, 2.0).shape == (0,)
