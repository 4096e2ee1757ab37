"""The ranking of words that name a cluster, by votes or by contrast, and second words for ties."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .votes import CHUNK_NUMBERS, SCALE, ClusterVotes

NEIGHBOURS = 10
"""Nearest clusters that a word's mean cosine is taken over, as in arXiv 1710.04087."""

HUBNESS = 0.5
"""Weight of a word's mean cosine with its nearest clusters, which is subtracted. A weight of 1, as
in arXiv 1710.04087, is too much for few clusters: the ten nearest are then all of them, including
the word's own."""

CANDIDATES = 20
"""Words ranked for each cluster: its captions, and candidates for its second word."""

MARGIN = 0.01
"""Cosine by which a second word must be nearer to its cluster than to clusters on average: one nat
at the scale of the votes."""

NONE = -1
"""No word."""


class Ranking(NamedTuple):
    """The words that fit each of k clusters, best first; `NONE` for an empty cluster."""

    words: Int[ndarray, "k r"]
    shares: Float[ndarray, "k r"]
    """From 0 to 1: the word's share of what the cluster gives to all words."""
    votes: Float[ndarray, "k r"]
    """Votes of the cluster's images, under either ranking."""


def rank_by_votes(votes: ClusterVotes, most: int = CANDIDATES) -> Ranking:
    """The words with the most votes (arXiv 2306.05272), ties by number; shares are of all votes.

    Words without a vote are left out, so there may be fewer than `most`.
    """
    k, m = votes.votes.shape
    ranking = _empty(k, min(most, m))
    for cluster in range(k):
        words, counts = _votes_of(votes, cluster)
        order = np.lexsort((words, -counts))[:most]
        order = order[counts[order] > 0]
        ranking.words[cluster, : len(order)] = words[order]
        ranking.votes[cluster, : len(order)] = counts[order]
        ranking.shares[cluster, : len(order)] = counts[order] / counts.sum()
    return ranking


def rank_by_contrast(
    votes: ClusterVotes,
    t: Float[Tensor, "m d"],
    most: int = CANDIDATES,
    chunk: int | None = None,
) -> Ranking:
    """The words that fit a cluster, and fit it better than they fit their nearest clusters.

    Cross-domain similarity local scaling (Conneau et al., "Word Translation Without Parallel Data",
    arXiv 1710.04087, section 2.3) keeps words that are near everything from naming everything. The
    score is 2 cos(cluster, word) − r(word) / 2, where r is the word's mean cosine with its ten
    nearest clusters. Where we differ: r counts half (`HUBNESS`), the cosine is the mean over a
    cluster's images, and the cluster's own r, which changes no order of words, is left out. Shares
    are a softmax of `SCALE` times the score. `t` are unit rows; `chunk` words are compared at once.
    """
    used = np.flatnonzero(votes.counts)
    k, m = len(votes.counts), len(t)
    ranking = _empty(k, min(most, m))
    if not len(used):
        return ranking
    means = _means(votes, used, t)
    chunk = max(1, CHUNK_NUMBERS // len(used)) if chunk is None else chunk
    best = means.new_empty(len(used), 0)
    words = torch.empty(len(used), 0, dtype=torch.long, device=t.device)
    total = means.new_full((len(used), 1), -torch.inf)
    for start in range(0, m, chunk):
        cosine = means @ t[start : start + chunk].mT
        near = cosine.topk(min(NEIGHBOURS, len(used)), dim=0).values.mean(0)
        fit = SCALE * (2 * cosine - HUBNESS * near)
        total = torch.logaddexp(total, fit.logsumexp(1, keepdim=True))
        number = torch.arange(start, start + fit.shape[1], device=t.device)
        words = torch.cat([words, number.expand(len(used), -1)], 1)
        best, order = torch.cat([best, fit], 1).topk(min(most, words.shape[1]), dim=1)
        words = words.gather(1, order)
    ranking.words[used] = words.cpu().numpy()
    ranking.shares[used] = torch.exp(best - total).cpu().numpy()
    for cluster in used.tolist():
        voted_words, counts = _votes_of(votes, cluster)
        votes_of_word = dict(zip(voted_words.tolist(), counts.tolist(), strict=True))
        ranking.votes[cluster] = [
            votes_of_word.get(word, 0.0) for word in ranking.words[cluster].tolist()
        ]
    return ranking


def second_words(
    ranking: Ranking, votes: ClusterVotes, t: Float[Tensor, "m d"]
) -> Int[ndarray, " k"]:
    """A second word for clusters that share their first, which tells each from the others.

    Each of them gets a different word from all their ranked words: the assignment that fits best
    overall, by the contrast among these clusters alone. `NONE` if the first word is not shared,
    or if there are fewer words than clusters.
    """
    first = ranking.words[:, 0]
    second = np.full(len(first), NONE)
    for word in np.unique(first[first != NONE]):
        sharing = np.flatnonzero(first == word)
        if len(sharing) < 2:
            continue
        others = np.setdiff1d(ranking.words[sharing], [word, NONE])
        fits = _means(votes, sharing, t) @ t[torch.from_numpy(others).to(t.device)].mT
        cosine = fits.cpu().double().numpy()
        rows, columns = linear_sum_assignment(2 * cosine - cosine.mean(0), maximize=True)
        second[sharing[rows]] = others[columns]
    return second


def drop_unsupported(
    second: Int[ndarray, " k"], votes: ClusterVotes, t: Float[Tensor, "m d"]
) -> Int[ndarray, " k"]:
    """Second words without those that a cluster's images do not support; `NONE` in their place.

    A word is supported if it is nearer to the cluster than to clusters on average, by `MARGIN`. In
    a small vocabulary the word that tells two clusters of airplanes apart best may be "bonsai".
    """
    used, named = np.flatnonzero(votes.counts), np.flatnonzero(second != NONE)
    if not len(named):
        return second
    words = torch.from_numpy(second[named]).to(t.device)
    cosine = (_means(votes, used, t) @ t[words].mT).cpu().double().numpy()  # (used, named)
    own = cosine[np.searchsorted(used, named), np.arange(len(named))]
    kept = second.copy()
    kept[named[own < cosine.mean(0) + MARGIN]] = NONE
    return kept


def _empty(k: int, most: int) -> Ranking:
    return Ranking(np.full((k, most), NONE), np.zeros((k, most)), np.zeros((k, most)))


def _means(votes: ClusterVotes, clusters: Int[ndarray, " c"], t: Tensor) -> Float[Tensor, "c d"]:
    """Mean embeddings of some clusters, with the type and on the device of the words."""
    # Converted first, because not every device has float64.
    return torch.from_numpy(votes.means[clusters]).to(t.dtype).to(t.device)


def _votes_of(votes: ClusterVotes, cluster: int) -> tuple[ndarray, ndarray]:
    """The words that a cluster votes for, and its votes for each."""
    matrix = votes.votes
    row = slice(matrix.indptr[cluster], matrix.indptr[cluster + 1])
    return matrix.indices[row], matrix.data[row]
