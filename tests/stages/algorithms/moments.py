"""Coding length from second moments: an oracle by eigenvalues in NumPy."""

import math

import numpy as np
import torch

from cpp_pipe.stages.algorithms.coding_length import CodingLength, Moments


def coding_length_of(moments: Moments, *, eps_sq: float) -> CodingLength:
    """The coding length of all rows in the moments."""
    p, n = moments.second.shape[1], int(moments.counts.sum())
    lengths, labels = [], []
    for second, m in zip(moments.second.numpy(), moments.counts.tolist(), strict=True):
        values = np.linalg.eigvalsh(second) * (p / (m * eps_sq)) if m else np.zeros(p)
        lengths.append((m + p) / 2 * float(np.log1p(np.maximum(values, 0)).sum()))
        labels.append(m * math.log(n / m) if m else 0.0)
    length = torch.tensor(lengths, dtype=torch.float64)
    total = length + torch.tensor(labels, dtype=torch.float64)
    return CodingLength(length, total, total.sum())
