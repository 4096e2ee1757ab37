"""Which words name a cluster: the voting of arXiv 2306.05272."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .heads import unit_rows

CHUNK_NUMBERS = 2**24
"""Scores held at a time: 64 MiB in float32."""


def caption_votes(
    x: Float[Tensor, "n d"],
    t: Float[Tensor, "m d"],
    cluster: Int[Tensor, " n"],
    k: int,
    *,
    top: int = 5,
    scale: float = 100.0,
    chunk: int | None = None,
) -> Float[Tensor, "k m"]:
    """Votes of each cluster for each of m candidates, as in arXiv 2306.05272, in float64.

    An image's softmax(scale · cos(x, t)) over the candidates gives its `top` largest entries (all,
    if there are fewer candidates) to its cluster. `x` is normalised here; the rows of `t` are unit
    rows already. `chunk` images are scored at a time.
    """
    n, m = len(x), len(t)
    dtype = torch.promote_types(x.dtype, torch.float32)
    chunk = max(1, CHUNK_NUMBERS // max(1, m)) if chunk is None else chunk
    t = t.to(dtype)
    votes = torch.zeros(k * m, dtype=torch.float64, device=x.device)
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        score = torch.softmax(scale * unit_rows(x[rows].to(dtype)) @ t.mT, 1)
        best, name = score.topk(min(top, m), dim=1)
        place = cluster[rows, None] * m + name
        votes.index_add_(0, place.flatten(), best.flatten().double())
    return votes.view(k, m)
