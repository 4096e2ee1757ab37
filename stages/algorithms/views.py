"""Several views of each image in one row: embeddings of several models, what a guide says of it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class View(NamedTuple):
    """Neighbouring columns of a row."""

    size: int
    """Columns."""
    share: float
    """Of the similarity of two rows, what it decides on average; those of a row add up to 1."""


Directions = tuple[Float[Tensor, " d"], Float[Tensor, "p d"]]
"""A mean, and directions along which rows about it are projected."""


def view_directions(
    rows: Float[Tensor, "n D"],
    views: Sequence[View],
    find: Callable[[Float[Tensor, "n d"]], Directions],
) -> Directions:
    """Mean (D,) and directions (p · views, D) that project every view by itself, side by side.

    `find` gives the mean and the p directions of one view. Each view is scaled so that its mean
    squared length over `rows` is its share; a view that is the same for all rows adds nothing.
    """
    means, blocks = [], []
    for view, part in zip(views, rows.split([view.size for view in views], dim=1), strict=True):
        mean, directions = find(part)
        length = ((part - mean) @ directions.mT).square().sum(1).mean().sqrt()
        scale = view.share**0.5 / length if length > 0 else torch.zeros_like(length)
        means.append(mean)
        blocks.append(scale * directions)
    return torch.cat(means), torch.block_diag(*blocks)
