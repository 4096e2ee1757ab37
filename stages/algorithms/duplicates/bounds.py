"""Short rows whose inner products are upper bounds of the cosines of long ones.

A coarse row holds the row's coordinates along the leading directions, and the length of its
remainder. By the Cauchy-Schwarz inequality, the remainders of two rows add at most the product of
their lengths to the cosine.
"""

import math

import torch
from jaxtyping import Float, Float32
from torch import Tensor

SLACK = 1e-4
"""Ten times the error of a cosine after a rotation in float32."""
SAMPLE = 2048
"""Rows from which the directions of the coarse rows, and their number, are determined."""
_EXACT_COST = 20_000
"""Dimensions of a bound that cost as much as one exact comparison: that takes 1 µs, because it
gathers two rows; a dimension takes 0.05 ns (2 cores, d = 512)."""
_TRIED = (16, 32, 48, 64, 96, 128, 192, 256, 384)
"""Numbers of dimensions to try for the bound; the cheapest is used."""
_AT_ONCE = 16_384


def coarse_rows(
    rows: Float[Tensor, "n d"], threshold: float, device: str
) -> Float32[Tensor, "n r"]:
    """Coarse rows (n, r) of rows (n, d), with the r at which all comparisons are cheapest."""
    sample = unit(rows[:: max(1, math.ceil(len(rows) / SAMPLE))].to(device))
    directions = leading_directions(sample)
    costs = {}
    for r in [r for r in _TRIED if r < rows.shape[1]]:
        bounds = _coarse(sample, directions[:, :r])
        rate = (bounds @ bounds.T >= threshold - SLACK).float().mean()
        costs[r] = r + _EXACT_COST * float(rate)
    cheapest = min(costs, key=costs.__getitem__, default=rows.shape[1])
    chosen = directions[:, :cheapest]
    return torch.cat([coarse(block.to(device), chosen) for block in rows.split(_AT_ONCE)])


def leading_directions(sample: Float[Tensor, "n d"]) -> Float32[Tensor, "d d"]:
    """Principal directions of a sample of unit rows, as columns, the leading one first."""
    # Not every device has float64, and one (d, d) matrix is cheap on the CPU.
    doubled = sample.cpu().double()
    directions = torch.linalg.eigh(doubled.T @ doubled).eigenvectors.flip(1).float()
    return directions.to(sample.device)


def coarse(block: Float[Tensor, "n d"], directions: Float32[Tensor, "d r"]) -> Tensor:
    """The coarse rows of some rows."""
    return _coarse(unit(block), directions)


def unit(block: Float[Tensor, "n d"]) -> Float32[Tensor, "n d"]:
    """Rows of unit length in float32; rows rounded to float16 are only nearly so."""
    return torch.nn.functional.normalize(block.float(), dim=1)


def _coarse(block: Tensor, directions: Tensor) -> Tensor:
    inside = block @ directions
    remainder = (block.square().sum(1) - inside.square().sum(1)).clamp(min=0).sqrt()
    return torch.cat([inside, remainder[:, None]], 1)
