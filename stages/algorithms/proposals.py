"""Pairs of rows that may show the same picture: nearest rows by cosine."""

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from .neighbours import nearest_rows

_BLOCK = 4096


def propose(rows: Float32[ndarray, "n d"], count: int, least: float) -> list[Int64[ndarray, " m"]]:
    """For each unit row its nearest others, at most `count`, whose cosine is `least` or more.

    A pair is proposed to both rows. All pairs are compared: n² d products.
    """
    near = nearest_rows(rows, count)
    pairs: list[list[int]] = [[] for _ in rows]
    for start in range(0, len(rows), _BLOCK):
        block = near[start : start + _BLOCK]
        cosines = np.einsum("bd,bmd->bm", rows[start : start + len(block)], rows[block])
        for place, other in zip(*(cosines >= least).nonzero(), strict=True):
            row, neighbour = start + int(place), int(block[place, other])
            pairs[row].append(neighbour)
            pairs[neighbour].append(row)
    return [np.unique(np.array(others, np.int64)) for others in pairs]
