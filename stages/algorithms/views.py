"""Several views of each image in one row: embeddings of several models, and a guide's mean word."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class View(NamedTuple):
    """Consecutive columns of a row."""

    size: int
    """Number of columns."""
    share: float
    """Its average share of the similarity of two rows; the shares of a row sum to 1."""


Directions = tuple[Float[Tensor, " d"], Float[Tensor, "p d"]]
"""A mean, and directions that rows minus the mean are projected on."""


def view_directions(
    rows: Float[Tensor, "n D"],
    views: Sequence[View],
    find: Callable[[Float[Tensor, "n d"]], Directions],
) -> Directions:
    """Mean (D,) and block-diagonal directions (p · views, D): each view is projected by itself.

    `find` returns the mean and the p directions of one view. Each view is scaled so that its mean
    squared length over `rows` is its share; a view that is the same for all rows becomes zero.
    """
    means, blocks = [], []
    for view, part in zip(views, rows.split([view.size for view in views], dim=1), strict=True):
        mean, directions = find(part)
        length = ((part - mean) @ directions.mT).square().sum(1).mean().sqrt()
        scale = view.share**0.5 / length if length > 0 else torch.zeros_like(length)
        means.append(mean)
        blocks.append(scale * directions)
    return torch.cat(means), torch.block_diag(*blocks)
