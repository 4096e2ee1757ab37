"""Whitening by near neighbours: a linear start of the heads, in closed form.

Directions in which near neighbours differ are noise for clustering, so they are scaled down. This
is within-class covariance normalisation (Hatch, Kajarekar and Stolcke, 2006) with neighbours in
place of classes: differences between groups then outweigh the variation within them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .clustering.sampling import choose_rows
from .heads import leading_directions, unit_rows
from .training_rows import TrainingRows

ROWS = 20_000
"""Rows used, at most: bounds the time, which grows with their square."""
NEIGHBOURS = 5
"""Nearest rows that each row is compared with."""
FEW_ROWS, FEW_NEIGHBOURS = 1500, 3
"""Sets of fewer rows use fewer neighbours: there the fifth is often from another group."""
SHRINKAGE_ROWS = 250
"""The shrinkage of the covariance is this over the number of rows, limited to `SHRINKAGE`."""
SHRINKAGE = (0.1, 0.5)
NEAR_DUPLICATE = 0.98
"""Centred rows with this cosine or more are near-duplicates, which show no variation of a group."""
BLOCK = 2048
"""Rows whose cosines with all others are held at once."""


def neighbour_directions(
    x: TrainingRows, p: int, *, seed: int, device: torch.device | None = None
) -> tuple[Float[Tensor, " d"], Float[Tensor, "p d"]]:
    """Mean and `p` directions such that unit rows of `(x - mean) @ directions.T` are whitened.

    S, the mean of (c_i − c_j)(c_i − c_j)ᵀ over near neighbours of the centred unit rows c, is
    shrunk towards a multiple of I; the directions are the leading principal directions of c S^-½,
    mapped back by S^-½. They are fitted to a uniform sample of at most `ROWS` rows, have unit
    length on average and fixed signs, and are zero rows beyond the rank. If no row has a
    neighbour that differs, they are the principal directions of c.
    """
    n = len(x)
    device = x.device if device is None else device
    dtype = torch.promote_types(x.dtype, torch.float32)
    chosen = torch.from_numpy(choose_rows(n, ROWS, seed)).to(x.device)
    rows = x[chosen].to(device, dtype)
    mean = rows.mean(0, dtype=torch.float64).to(dtype)
    c = unit_rows(rows - mean)
    whitening = _inverse_root(_shrunk(_neighbour_covariance(c), len(c))).to(dtype)
    directions = leading_directions(c @ whitening, p) @ whitening
    scale = directions.norm() / max(1, int((directions != 0).any(1).sum())) ** 0.5
    return mean, directions / scale.clamp_min(torch.finfo(dtype).tiny)


def _neighbour_covariance(c: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Mean outer product of the differences between neighbours, in float64; I without any."""
    n, d = c.shape
    m = min(NEIGHBOURS if n >= FEW_ROWS else FEW_NEIGHBOURS, n - 1)
    total, pairs = torch.zeros(d, d, dtype=torch.float64, device=c.device), 0
    for start in range(0, n, BLOCK):
        block = c[start : start + BLOCK]
        nearest, is_other = _nearest(c, start, len(block), m)
        for neighbour, counts in zip(nearest.T, is_other.T, strict=True):
            difference = (block - c[neighbour])[counts]
            total += (difference.mT @ difference).double()
            pairs += len(difference)
    if not pairs or not total.any():
        return torch.eye(d, dtype=torch.float64, device=c.device)
    return total / pairs


def _nearest(
    c: Float[Tensor, "n d"], start: int, count: int, m: int
) -> tuple[Int[Tensor, "b m"], Tensor]:
    """The m nearest rows that are not near-duplicates, and whether each exists."""
    cosines = c[start : start + count] @ c.mT
    cosines[cosines >= NEAR_DUPLICATE] = -torch.inf
    # A row equal to the mean is zero, so the line above did not exclude the row itself.
    every = torch.arange(count, device=c.device)
    cosines[every, every + start] = -torch.inf
    best = cosines.topk(m, dim=1)
    return best.indices, torch.isfinite(best.values)


def _shrunk(covariance: Float[Tensor, "d d"], n: int) -> Float[Tensor, "d d"]:
    least, most = SHRINKAGE
    share, d = min(most, max(least, SHRINKAGE_ROWS / n)), len(covariance)
    identity = torch.eye(d, dtype=covariance.dtype, device=covariance.device)
    return (1 - share) * covariance + share * covariance.trace() / d * identity


def _inverse_root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors / values.sqrt()) @ vectors.mT
