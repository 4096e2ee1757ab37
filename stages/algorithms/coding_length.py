"""Coding length of a labelling in nats: arXiv 2306.05272's criterion for the number of clusters."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .rates import at_least_float32
from .symmetric import full_precision, log_determinant

BLOCK = 4096
"""Rows whose second moment is summed in the features' own type; blocks are added in float64."""


class CodingLength(NamedTuple):
    """Nats, in float64. A cluster's total is its length plus the cost of its samples' labels."""

    length_per_cluster: Float[Tensor, " k"]
    total_per_cluster: Float[Tensor, " k"]
    total: Float[Tensor, ""]


class Moments(NamedTuple):
    """Σ z zᵀ and the number of samples of each cluster; moments of parts of the rows add up."""

    second: Float[Tensor, "k p p"]
    counts: Int[Tensor, " k"]


def coding_length(
    z: Float[Tensor, "n p"], labels: Int[Tensor, " n"], k: int, *, eps_sq: float
) -> CodingLength:
    """L = Σ_c (m_c + p)/2 ln det(I + p/(m_c ε²) Z_cᵀ Z_c) − m_c ln(m_c/n) (arXiv 2306.05272).

    In nats; the reference's plots say bits. Empty clusters cost nothing. The mean is not
    subtracted. A cluster of m < p samples uses its m×m Gram matrix. `labels` are 0 to k−1.
    """
    p = z.shape[1]
    length = torch.zeros(k, dtype=torch.float64, device=z.device)
    counts, groups = _grouped(labels, k)
    for cluster, rows in groups:
        members = at_least_float32(z[rows])
        m = len(members)
        with full_precision(z.device):
            gram = _gram(members) if p <= m else (members @ members.mT).double()
        length[cluster] = (m + p) / 2 * _rate(gram, p / (m * eps_sq))
    return _with_labels(length, counts)


def coding_length_of_all(
    z: Float[Tensor, "n p"], labels: Int[Tensor, " n"], k: int, *, eps_sq: float, total: int
) -> float:
    """The coding length, in nats, of `total` rows of which these are a uniform sample.

    A cluster of m sampled rows stands for m total/n rows. Its rate is that of the sample; the cost
    of its labels and the weight of its rate are those of all its rows. Small clusters come out too
    short, because m rows have at most m directions: in the sample, clusters should have more rows
    than features.
    """
    sampled = coding_length(z, labels, k, eps_sq=eps_sq)
    n, p = z.shape
    m = torch.bincount(labels, minlength=k).double()
    share = total / n
    length = sampled.length_per_cluster * (share * m + p) / (m + p)
    return float((length + share * (sampled.total_per_cluster - sampled.length_per_cluster)).sum())


def second_moments(z: Float[Tensor, "n p"], labels: Int[Tensor, " n"], k: int) -> Moments:
    """Moments of the clusters over these rows, in float64: k p² numbers for any n."""
    p = z.shape[1]
    second = torch.zeros(k, p, p, dtype=torch.float64, device=z.device)
    counts, groups = _grouped(labels, k)
    with full_precision(z.device):
        for cluster, rows in groups:
            second[cluster] = _gram(at_least_float32(z[rows]))
    return Moments(second, counts)


def _grouped(labels: Tensor, k: int) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """The number of samples of each cluster, and the rows of each cluster that is not empty."""
    counts = torch.bincount(labels, minlength=k)
    assert len(counts) == k, f"a label is {len(counts) - 1}; the clusters are 0 to {k - 1}"
    rows = torch.argsort(labels, stable=True).split(counts.tolist())
    return counts, [(cluster, part) for cluster, part in enumerate(rows) if len(part)]


def _gram(z: Tensor) -> Tensor:
    out = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64, device=z.device)
    for block in z.split(BLOCK):
        out += block.mT @ block
    return out


def _rate(gram: Tensor, factor: float) -> Tensor:
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return log_determinant(eye + factor * gram)


def _with_labels(length: Tensor, counts: Tensor) -> CodingLength:
    """Adds what the labels cost: −m_c ln(m_c/n)."""
    m = counts.double()
    labels = math.log(max(1, int(counts.sum()))) * m - torch.xlogy(m, m)
    total = length + labels
    return CodingLength(length, total, total.sum())
