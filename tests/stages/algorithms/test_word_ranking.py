"""The ranking of words for clusters, and second words for those that share their first."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.votes import SCALE, ClusterVotes, count_votes
from cpp_pipe.stages.algorithms.word_ranking import (
    CANDIDATES,
    HUBNESS,
    NEIGHBOURS,
    NONE,
    Ranking,
    drop_unsupported,
    rank_by_contrast,
    rank_by_votes,
    second_words,
)

from ...strategies import random_unit_rows, seeds


def make_votes(n: int, m: int, k: int, seed: int) -> tuple[ClusterVotes, torch.Tensor]:
    """Votes of random images in six dimensions, where some clusters may be empty; and the words."""
    x, t = random_unit_rows(n, 6, seed), random_unit_rows(m, 6, seed ^ 1)
    cluster = np.random.default_rng(seed).integers(k, size=n)
    return count_votes(x, t, cluster, k), t


def ranked(cluster_votes: ClusterVotes, t: torch.Tensor, rule: str) -> Ranking:
    """The ranking by a rule."""
    return rank_by_votes(cluster_votes) if rule == "vote" else rank_by_contrast(cluster_votes, t)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 15), seeds)
def test_contrast_is_the_formula_of_its_paper(n: int, m: int, k: int, seed: int) -> None:
    cluster_votes, t = make_votes(n, m, k, seed)
    ranking = rank_by_contrast(cluster_votes, t, most=m, chunk=4)
    there = [one for one in range(k) if cluster_votes.counts[one]]
    cosine = {one: cluster_votes.means[one] @ t.numpy().T for one in there}
    for one in there:
        scores = []
        for word in range(m):
            nearest = sorted((cosine[other][word] for other in there), reverse=True)[:NEIGHBOURS]
            scores.append(2 * cosine[one][word] - HUBNESS * sum(nearest) / len(nearest))
        weight = np.exp(SCALE * (np.array(scores) - max(scores)))
        expected = weight / weight.sum()
        assert sorted(ranking.words[one].tolist()) == list(range(m))
        np.testing.assert_allclose(ranking.shares[one], np.sort(expected)[::-1], atol=1e-9)
        np.testing.assert_allclose(ranking.shares[one], expected[ranking.words[one]], atol=1e-9)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 6), st.integers(1, 9), seeds)
def test_chunks_do_not_change_a_ranking(n: int, m: int, k: int, chunk: int, seed: int) -> None:
    cluster_votes, t = make_votes(n, m, k, seed)
    whole, chunked = (
        rank_by_contrast(cluster_votes, t),
        rank_by_contrast(cluster_votes, t, chunk=chunk),
    )
    assert (whole.words == chunked.words).all()
    np.testing.assert_allclose(whole.shares, chunked.shares, atol=1e-12)


@pytest.mark.parametrize("rule", ["vote", "contrast"])
@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 8), seeds)
def test_a_ranking_has_distinct_words_with_falling_shares(
    rule: str, n: int, m: int, k: int, seed: int
) -> None:
    cluster_votes, t = make_votes(n, m, k, seed)
    ranking = ranked(cluster_votes, t, rule)
    dense = cluster_votes.votes.toarray()
    for one in range(k):
        words = ranking.words[one][ranking.words[one] != NONE]
        shares = ranking.shares[one, : len(words)]
        assert len(words) == len(set(words.tolist())) <= CANDIDATES
        assert (len(words) > 0) == (cluster_votes.counts[one] > 0)
        assert (np.diff(shares) <= 1e-12).all() and shares.sum() <= 1 + 1e-9
        np.testing.assert_allclose(ranking.votes[one, : len(words)], dense[one, words])


def test_most_votes_win_and_ties_go_to_the_first_word() -> None:
    cluster_votes, t = make_votes(30, 4, 2, 0)
    ranking = rank_by_votes(cluster_votes)
    for one, votes in enumerate(cluster_votes.votes.toarray()):
        assert ranking.words[one].tolist() == np.argsort(-votes, kind="stable").tolist()
        np.testing.assert_allclose(ranking.shares[one], np.sort(votes)[::-1] / votes.sum())
    same = torch.cat([t[:1], t[:1]])
    x = t[:1].repeat(3, 1)
    assert rank_by_votes(count_votes(x, same, np.zeros(3, int), 1)).words.tolist() == [[0, 1]]


def test_by_contrast_a_word_near_everything_names_nothing() -> None:
    """Images share a direction, as CLIP's do, and one word is that direction and little else."""
    k, common = 5, 6
    x = torch.eye(common + 1, dtype=torch.float64)[:k].repeat_interleave(4, 0)
    x[:, common] = 1.3
    own = torch.eye(common + 1, dtype=torch.float64)[:k]
    own[:, common] = 0.2
    hub = torch.zeros(1, common + 1, dtype=torch.float64)
    hub[0, :] = 0.2
    hub[0, common] = 1.3
    t = torch.nn.functional.normalize(torch.cat([own, hub]), dim=1)
    cluster_votes = count_votes(x, t, np.repeat(np.arange(k), 4), k)
    assert rank_by_votes(cluster_votes).words[:, 0].tolist() == [k] * k
    assert rank_by_contrast(cluster_votes, t).words[:, 0].tolist() == list(range(k))


@pytest.mark.parametrize("rule", ["vote", "contrast"])
@given(st.integers(1, 8), st.integers(0, 10), seeds)
def test_no_two_clusters_share_a_caption_if_there_are_enough_words(
    rule: str, k: int, more: int, seed: int
) -> None:
    """Images have a common direction, so that first words are shared; no cluster is empty."""
    m = k + 1 + more
    t = random_unit_rows(m, 6, seed ^ 1)
    x = torch.nn.functional.normalize(t[:1] + 0.3 * random_unit_rows(4 * k, 6, seed), dim=1)
    cluster_votes = count_votes(x, t, np.arange(4 * k) % k, k, top=m)
    ranking = ranked(cluster_votes, t, rule)
    second = second_words(ranking, cluster_votes, t)
    captions = list(zip(ranking.words[:, 0].tolist(), second.tolist(), strict=True))
    assert len(set(captions)) == k
    for first, other in captions:
        shared = (ranking.words[:, 0] == first).sum() > 1
        assert (other != NONE) == shared and other != first


def test_second_words_tell_sharing_clusters_apart() -> None:
    """Cats close by and cats outdoors: both are cats first, and the difference comes second."""
    cat, close, outdoors, dog = torch.eye(4, dtype=torch.float64)
    x = torch.stack([cat + 0.5 * close + 0.2 * outdoors, cat + 0.2 * close + 0.3 * outdoors, dog])
    cluster_votes = count_votes(x, torch.stack([cat, close, outdoors, dog]), np.arange(3), 3)
    ranking = rank_by_votes(cluster_votes)
    assert ranking.words[:, 0].tolist() == [0, 0, 3]
    assert second_words(ranking, cluster_votes, torch.eye(4, dtype=torch.float64)).tolist() == [
        1,
        2,
        NONE,
    ]


def test_a_second_word_that_is_no_nearer_than_to_other_clusters_is_dropped() -> None:
    """Of six words, bonsai tells the airplanes apart best, and has nothing to do with either."""
    t = torch.eye(6, dtype=torch.float64)
    airplane, jet, bonsai, daisy = t[:4]
    noise = 0.02 * bonsai
    x = torch.stack([airplane + noise, airplane - noise, bonsai, daisy, airplane + 0.5 * jet])
    x = torch.nn.functional.normalize(x, dim=1)
    votes = count_votes(x, t, np.arange(5), 5, top=6)
    ranking = rank_by_contrast(votes, t)
    assert ranking.words[:, 0].tolist() == [0, 0, 2, 3, 0]
    second = second_words(ranking, votes, t)
    assert second[4] == 1 and NONE not in second[:2]
    assert drop_unsupported(second, votes, t).tolist() == [NONE, NONE, NONE, NONE, 1]


def test_clusters_that_no_word_tells_apart_share_their_only_one() -> None:
    x, t = random_unit_rows(4, 3, 0), random_unit_rows(1, 3, 1)
    cluster_votes = count_votes(x, t, np.array([0, 0, 2, 2]), 4)
    ranking = rank_by_contrast(cluster_votes, t)
    assert ranking.words.tolist() == [[0], [NONE], [0], [NONE]]
    assert second_words(ranking, cluster_votes, t).tolist() == [NONE] * 4
    assert ranking.shares[[0, 2], 0] == pytest.approx([1, 1])
