"""What images say of words, by cluster: the votes of arXiv 2306.05272, and mean embeddings."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_array
from torch import Tensor

from .heads import unit_rows

SCALE = 100.0
"""Inverse temperature of the softmax over words: the one that CLIP's training ends with."""

CHUNK_NUMBERS = 2**24
"""Cosines held at a time: 64 MiB in float32."""


@dataclass(frozen=True, kw_only=True)
class ClusterVotes:
    """What the images of k clusters say of m words, as far as naming needs it."""

    counts: Int[ndarray, " k"]
    """Images."""
    sums: Float[ndarray, "k d"]
    """Of their unit embeddings, float64."""
    votes: csr_array
    """(k, m), float64: most words get votes of few clusters, so that k times m is never held."""

    @property
    def means(self) -> Float[ndarray, "k d"]:
        """Mean unit embeddings: times a word's, the mean cosine. An empty cluster's is zero."""
        return self.sums / np.maximum(self.counts, 1)[:, None]

    def plus(self, other: "ClusterVotes") -> "ClusterVotes":
        """Of the images of both, in the same clusters."""
        return ClusterVotes(
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            votes=csr_array(self.votes + other.votes),
        )

    def merged(self, group: Int[ndarray, " k"], k: int) -> "ClusterVotes":
        """Of k larger clusters; `group` is the one that each of these is part of."""
        parts = members(group, k)
        return ClusterVotes(
            counts=np.bincount(group, self.counts, minlength=k).astype(np.int64),
            sums=parts @ self.sums,
            votes=csr_array(parts @ self.votes),
        )


def no_votes(k: int, d: int, m: int) -> ClusterVotes:
    """Of no image at all."""
    return ClusterVotes(
        counts=np.zeros(k, np.int64), sums=np.zeros((k, d)), votes=csr_array((k, m), dtype=float)
    )


def count_votes(
    x: Float[Tensor, "n d"],
    t: Float[Tensor, "m d"],
    cluster: Int[ndarray, " n"],
    k: int,
    *,
    top: int = 5,
) -> ClusterVotes:
    """What n images of k clusters say of m words.

    `x` is normalised here; the rows of `t` are unit rows already.
    """
    rows = unit_rows(x.to(torch.promote_types(x.dtype, torch.float32)))
    return ClusterVotes(
        counts=np.bincount(cluster, minlength=k),
        sums=members(cluster, k) @ rows.cpu().numpy().astype(float),
        votes=caption_votes(rows, t, cluster, k, top=top),
    )


def caption_votes(
    x: Float[Tensor, "n d"],
    t: Float[Tensor, "m d"],
    cluster: Int[ndarray, " n"],
    k: int,
    *,
    top: int = 5,
    scale: float = SCALE,
    chunk: int | None = None,
) -> csr_array:
    """Votes (k, m) of each cluster for each of m candidates, as in arXiv 2306.05272, in float64.

    An image's softmax(scale · cos(x, t)) over the candidates gives its `top` largest entries (all,
    if there are fewer candidates) to its cluster. `x` is normalised here; the rows of `t` are unit
    rows already. `chunk` images are scored at a time, and only their largest entries are kept.
    """
    n, m = len(x), len(t)
    dtype = torch.promote_types(x.dtype, torch.float32)
    chunk = max(1, CHUNK_NUMBERS // max(1, m)) if chunk is None else chunk
    t, kept = t.to(dtype), min(top, m)
    word, vote = np.empty((n, kept), np.int64), np.empty((n, kept))
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        logit = (unit_rows(x[rows].to(dtype)) @ t.mT).mul_(scale)
        best, found = logit.topk(kept, dim=1)
        word[rows] = found.cpu().numpy()
        vote[rows] = torch.exp(best - logit.logsumexp(1, keepdim=True)).cpu().numpy()
    place = (np.repeat(cluster, kept), word.ravel())
    return csr_array((vote.ravel(), place), shape=(k, m))


def guide_rows(
    x: Float[Tensor, "n d"], t: Float[Tensor, "m d"], *, scale: float = SCALE
) -> Float[Tensor, "n d"]:
    """The mean word of each image: the words of a guide, weighted by softmax(scale · cos(x, t)).

    Words count as unit vectors about their mean, so that what all have in common is left out. `x`
    is normalised here; the rows of `t` are unit rows already.
    """
    words = unit_rows(t - t.mean(0))
    chunk = max(1, CHUNK_NUMBERS // len(t))
    blocks = [
        torch.softmax(scale * (unit_rows(x[start : start + chunk]) @ t.mT), 1) @ words
        for start in range(0, len(x), chunk)
    ]
    return torch.cat(blocks) if blocks else x.new_empty(0, t.shape[1])


def members(cluster: Int[ndarray, " n"], k: int) -> csr_array:
    """Membership (k, n): times what rows have, its sums over clusters."""
    n = len(cluster)
    return csr_array((np.ones(n), (cluster, np.arange(n))), shape=(k, n))
