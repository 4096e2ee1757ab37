from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.votes import ClusterVotes, caption_votes, count_votes, no_votes

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
    votes = caption_votes(x, t, g[prefix + "cluster"], k, chunk=chunk).toarray()
    bound = 1e-11 if dtype == torch.float64 else 5e-6
    assert relative_error(votes, g[prefix + "votes"]) < bound
    assert votes.argmax(1).tolist() == g[prefix + "winner"].tolist()


@given(st.integers(0, 12), st.integers(1, 8), st.integers(1, 6), seeds)
def test_each_image_gives_its_largest_scores_and_at_most_one_vote(
    n: int, m: int, top: int, seed: int
) -> None:
    k = 3
    x, t = random_unit_rows(n, 4, seed), random_unit_rows(m, 4, seed ^ 1)
    cluster = np.arange(n) % k
    votes = caption_votes(x, t, cluster, k, top=top, scale=10.0, chunk=5).toarray()
    scores = torch.softmax(10 * x @ t.T, 1)
    expected = np.zeros((k, m))
    for row, own in zip(scores.numpy(), cluster, strict=True):
        for name in np.argsort(row)[-top:]:
            expected[own, name] += row[name]
    np.testing.assert_allclose(votes, expected, atol=1e-12)
    assert (votes.sum(1) <= np.bincount(cluster, minlength=k) + 1e-9).all()


def test_the_length_of_an_image_vector_does_not_matter() -> None:
    x, t = random_unit_rows(6, 4, 0), random_unit_rows(5, 4, 1)
    longer, usual = (
        count_votes(17 * x, t, np.zeros(6, int), 1),
        count_votes(x, t, np.zeros(6, int), 1),
    )
    np.testing.assert_allclose(longer.votes.toarray(), usual.votes.toarray())
    np.testing.assert_allclose(longer.means, usual.means)


@given(st.integers(0, 20), st.integers(0, 20), seeds)
def test_votes_of_two_sets_add_up(n: int, other: int, seed: int) -> None:
    k, t = 4, random_unit_rows(7, 5, seed ^ 1)
    x, cluster = random_unit_rows(n + other, 5, seed), np.arange(n + other) % k
    whole = count_votes(x, t, cluster, k, top=3)
    some = no_votes(k, 5, 7).plus(count_votes(x[:n], t, cluster[:n], k, top=3))
    both = some.plus(count_votes(x[n:], t, cluster[n:], k, top=3))
    assert_same(both, whole)
    for one in np.unique(cluster):
        np.testing.assert_allclose(whole.means[one], x[cluster == one].mean(0), atol=1e-12)


@given(st.integers(1, 30), seeds)
def test_votes_of_merged_clusters_are_those_of_their_images(n: int, seed: int) -> None:
    x, t = random_unit_rows(n, 5, seed), random_unit_rows(7, 5, seed ^ 1)
    cluster, group = np.arange(n) % 5, np.array([1, 0, 1, 2, 0])
    assert_same(
        count_votes(x, t, cluster, 5).merged(group, 3), count_votes(x, t, group[cluster], 3)
    )


def test_absent_votes_take_no_memory() -> None:
    """Ten thousand clusters and words: a table of all pairs would take 800 MB."""
    x, t = random_unit_rows(40, 16, 0), random_unit_rows(10_000, 16, 1)
    cluster_votes = count_votes(x, t, 250 * np.arange(40), 10_000)
    assert cluster_votes.votes.shape == (10_000, 10_000) and cluster_votes.votes.nnz == 200


def assert_same(some: ClusterVotes, others: ClusterVotes) -> None:
    """Equal up to the order of summation."""
    assert (some.counts == others.counts).all()
    np.testing.assert_allclose(some.sums, others.sums, atol=1e-12)
    np.testing.assert_allclose(some.votes.toarray(), others.votes.toarray(), atol=1e-12)
