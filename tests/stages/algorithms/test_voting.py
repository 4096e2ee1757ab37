from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.voting import caption_votes

from ...strategies import random_unit_rows, seeds
from .closeness import relative_error


@pytest.mark.parametrize("prefix", ["a_", "b_", "c_"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("chunk", [None, 7])
def test_votes_and_winners_match_golden(
    golden: Callable[[str], dict[str, np.ndarray]],
    prefix: str,
    dtype: torch.dtype,
    chunk: int | None,
) -> None:
    g = golden("caption_voting")
    x, t = (torch.tensor(g[prefix + name], dtype=dtype) for name in ("image", "text"))
    k = len(g[prefix + "votes"])
    votes = caption_votes(x, t, torch.tensor(g[prefix + "cluster"]), k, chunk=chunk)
    bound = 1e-11 if dtype == torch.float64 else 5e-6
    assert relative_error(votes, g[prefix + "votes"]) < bound
    assert votes.argmax(1).tolist() == g[prefix + "winner"].tolist()


@given(st.integers(0, 12), st.integers(1, 8), st.integers(1, 6), seeds)
def test_each_image_hands_out_its_largest_scores_and_no_more_than_one_vote(
    n: int, m: int, top: int, seed: int
) -> None:
    k = 3
    x, t = random_unit_rows(n, 4, seed), random_unit_rows(m, 4, seed ^ 1)
    cluster = torch.arange(n) % k
    votes = caption_votes(x, t, cluster, k, top=top, scale=10.0, chunk=5)
    scores = torch.softmax(10 * x @ t.T, 1)
    expected = np.zeros((k, m))
    for row, own in zip(scores.numpy(), cluster.tolist(), strict=True):
        for name in np.argsort(row)[-top:]:
            expected[own, name] += row[name]
    np.testing.assert_allclose(votes, expected, atol=1e-12)
    assert (votes.sum(1) <= cluster.bincount(minlength=k).double() + 1e-9).all()


def test_the_length_of_an_image_vector_does_not_matter() -> None:
    x, t = random_unit_rows(6, 4, 0), random_unit_rows(5, 4, 1)
    cluster = torch.zeros(6, dtype=torch.long)
    torch.testing.assert_close(
        caption_votes(17 * x, t, cluster, 1), caption_votes(x, t, cluster, 1)
    )
