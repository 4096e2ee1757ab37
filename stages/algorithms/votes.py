"""Votes of each cluster's images for words (arXiv 2306.05272), and their mean embeddings."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_array
from torch import Tensor

from .heads import unit_rows

SCALE = 100.0
"""Inverse temperature of the softmax over words, as at the end of CLIP's training."""

CHUNK_NUMBERS = 2**24
"""Cosines held at once: 64 MiB in float32."""


@dataclass(frozen=True, kw_only=True)
class ClusterVotes:
    """Votes of the images of k clusters for m words, with the images' counts and embeddings."""

    counts: Int[ndarray, " k"]
    """Images of each cluster."""
    sums: Float[ndarray, "k d"]
    """Sums of their unit embeddings, float64."""
    votes: csr_array
    """(k, m), float64; sparse, because few clusters vote for a word."""

    @property
    def means(self) -> Float[ndarray, "k d"]:
        """Mean unit embeddings, whose product with a word is the mean cosine; zero if empty."""
        return self.sums / np.maximum(self.counts, 1)[:, None]

    def plus(self, other: "ClusterVotes") -> "ClusterVotes":
        """The votes of the images of both, in the same clusters."""
        return ClusterVotes(
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            votes=csr_array(self.votes + other.votes),
        )

    def merged(self, group: Int[ndarray, " k"], k: int) -> "ClusterVotes":
        """The votes of k larger clusters; `group` is the larger cluster of each of these."""
        parts = members(group, k)
        return ClusterVotes(
            counts=np.bincount(group, self.counts, minlength=k).astype(np.int64),
            sums=parts @ self.sums,
            votes=csr_array(parts @ self.votes),
        )


def no_votes(k: int, d: int, m: int) -> ClusterVotes:
    """The votes of no images."""
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
    """Votes of n images in k clusters for m words.

    `x` is normalised here; the rows of `t` must be unit rows.
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

    Each image adds the `top` largest entries of softmax(scale · cos(x, t)) over the candidates
    (all, if there are fewer) to its cluster's votes. `x` is normalised here; the rows of `t` must
    be unit rows. `chunk` images are scored at once, and only their largest entries are kept.
    """
    n, m = len(x), len(t)
    dtype = torch.promote_types(x.dtype, torch.float32)
    chunk = max(1, CHUNK_NUMBERS // max(1, m)) if chunk is None else chunk
    t, kept = t.to(dtype), min(top, m)
    word, vote = np.empty((n, kept), np.int64), np.empty((n, kept))
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        logit = (unit_rows(x[rows].to(dtype)) @ t.mT).mul_(scale)
        best, words = logit.topk(kept, dim=1)
        word[rows] = words.cpu().numpy()
        vote[rows] = torch.exp(best - logit.logsumexp(1, keepdim=True)).cpu().numpy()
    indices = (np.repeat(cluster, kept), word.ravel())
    return csr_array((vote.ravel(), indices), shape=(k, m))


def guide_rows(
    x: Float[Tensor, "n d"], t: Float[Tensor, "m d"], *, scale: float = SCALE
) -> Float[Tensor, "n d"]:
    """The mean word of each image: a guide's words, weighted by softmax(scale · cos(x, t)).

    The mean of all words is subtracted from each, and the result normalised, to remove what they
    have in common. `x` is normalised here; the rows of `t` must be unit rows.
    """
    words = unit_rows(t - t.mean(0))
    chunk = max(1, CHUNK_NUMBERS // len(t))
    blocks = [
        torch.softmax(scale * (unit_rows(x[start : start + chunk]) @ t.mT), 1) @ words
        for start in range(0, len(x), chunk)
    ]
    return torch.cat(blocks) if blocks else x.new_empty(0, t.shape[1])


def members(cluster: Int[ndarray, " n"], k: int) -> csr_array:
    """Indicator matrix (k, n): multiplied by values of rows, it sums them over each cluster."""
    n = len(cluster)
    return csr_array((np.ones(n), (cluster, np.arange(n))), shape=(k, n))
