"""Which words name a cluster: ranked by votes or by contrast, and told apart by second words."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .votes import CHUNK_NUMBERS, SCALE, ClusterVotes

NEIGHBOURS = 10
"""Clusters that a word's nearness is a mean over: the number of arXiv 1710.04087."""

HUBNESS = 0.5
"""How much of a word's nearness to clusters is taken away. All of it, as in arXiv 1710.04087, is
too much where clusters are few: its ten nearest are all then, its own one among them."""

CANDIDATES = 20
"""Words that are kept for a cluster: its captions, and second words for those that share one."""

NONE = -1
"""In place of a word where there is none."""


class Ranking(NamedTuple):
    """The words that fit each of k clusters, best first; those of an empty cluster are `NONE`."""

    words: Int[ndarray, "k r"]
    shares: Float[ndarray, "k r"]
    """From 0 to 1, of all that a cluster gives to all words."""
    votes: Float[ndarray, "k r"]
    """Of its images, whatever the words are ranked by."""


def rank_by_votes(opinions: ClusterVotes, most: int = CANDIDATES) -> Ranking:
    """The words with most votes (arXiv 2306.05272); of equals the first. A share is of votes.

    A word without a vote is no candidate, so that there may be fewer than `most`.
    """
    k, m = opinions.votes.shape
    ranking = _empty(k, min(most, m))
    for cluster in range(k):
        words, votes = _votes_of(opinions, cluster)
        order = np.lexsort((words, -votes))[:most]
        order = order[votes[order] > 0]
        ranking.words[cluster, : len(order)] = words[order]
        ranking.votes[cluster, : len(order)] = votes[order]
        ranking.shares[cluster, : len(order)] = votes[order] / votes.sum()
    return ranking


def rank_by_contrast(
    opinions: ClusterVotes,
    t: Float[Tensor, "m d"],
    most: int = CANDIDATES,
    chunk: int | None = None,
) -> Ranking:
    """The words that fit a cluster, and fit it more than the clusters nearest to them.

    Cross-domain similarity local scaling (Conneau et al., "Word Translation Without Parallel Data",
    arXiv 1710.04087, section 2.3), which keeps words that are near to everything from naming
    everything: 2 cos(cluster, word) − r(word) / 2, where r is the word's mean cosine with its ten
    nearest clusters. Where we differ: r counts half (`HUBNESS`), the cosine is the mean over a
    cluster's images, and the cluster's own r is left out, which changes no order of words. A share
    is of the softmax of `SCALE` times that. `t` are unit rows; `chunk` words are compared at once.
    """
    there = np.flatnonzero(opinions.counts)
    k, m = len(opinions.counts), len(t)
    ranking = _empty(k, min(most, m))
    if not len(there):
        return ranking
    means = _means(opinions, there, t)
    chunk = max(1, CHUNK_NUMBERS // len(there)) if chunk is None else chunk
    best = means.new_empty(len(there), 0)
    found = torch.empty(len(there), 0, dtype=torch.long, device=t.device)
    total = means.new_full((len(there), 1), -torch.inf)
    for start in range(0, m, chunk):
        cosine = means @ t[start : start + chunk].mT
        near = cosine.topk(min(NEIGHBOURS, len(there)), dim=0).values.mean(0)
        fit = SCALE * (2 * cosine - HUBNESS * near)
        total = torch.logaddexp(total, fit.logsumexp(1, keepdim=True))
        number = torch.arange(start, start + fit.shape[1], device=t.device)
        found = torch.cat([found, number.expand(len(there), -1)], 1)
        best, order = torch.cat([best, fit], 1).topk(min(most, found.shape[1]), dim=1)
        found = found.gather(1, order)
    ranking.words[there] = found.cpu().numpy()
    ranking.shares[there] = torch.exp(best - total).cpu().numpy()
    for cluster in there.tolist():
        words, votes = _votes_of(opinions, cluster)
        given = dict(zip(words.tolist(), votes.tolist(), strict=True))
        ranking.votes[cluster] = [given.get(word, 0.0) for word in ranking.words[cluster].tolist()]
    return ranking


def second_words(
    ranking: Ranking, opinions: ClusterVotes, t: Float[Tensor, "m d"]
) -> Int[ndarray, " k"]:
    """For clusters that share their first word, another that tells each from the others.

    Of the words that the sharing clusters are ranked by, each gets one of its own: those that fit
    best, all together, by the contrast among these clusters alone. `NONE` where the first word is
    shared with none, or where there are fewer words than clusters.
    """
    first = ranking.words[:, 0]
    second = np.full(len(first), NONE)
    for word in np.unique(first[first != NONE]):
        sharing = np.flatnonzero(first == word)
        if len(sharing) < 2:
            continue
        others = np.setdiff1d(ranking.words[sharing], [word, NONE])
        fits = _means(opinions, sharing, t) @ t[torch.from_numpy(others).to(t.device)].mT
        cosine = fits.cpu().double().numpy()
        rows, columns = linear_sum_assignment(2 * cosine - cosine.mean(0), maximize=True)
        second[sharing[rows]] = others[columns]
    return second


def _empty(k: int, most: int) -> Ranking:
    return Ranking(np.full((k, most), NONE), np.zeros((k, most)), np.zeros((k, most)))


def _means(opinions: ClusterVotes, clusters: Int[ndarray, " c"], t: Tensor) -> Float[Tensor, "c d"]:
    """Mean embeddings of some clusters, as precise as the words and beside them."""
    # In this order, as not every device knows float64.
    return torch.from_numpy(opinions.means[clusters]).to(t.dtype).to(t.device)


def _votes_of(opinions: ClusterVotes, cluster: int) -> tuple[ndarray, ndarray]:
    """Words that a cluster votes for, and the votes of each."""
    votes = opinions.votes
    row = slice(votes.indptr[cluster], votes.indptr[cluster + 1])
    return votes.indices[row], votes.data[row]
