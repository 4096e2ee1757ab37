"""The nearest rows of each row by cosine, without a matrix of all pairs."""

import numpy as np
from jaxtyping import Float32, Int
from numpy import ndarray

BLOCK = 512
"""Rows whose cosines with all others are held at once."""


def nearest_rows(rows: Float32[ndarray, "n p"], count: int) -> Int[ndarray, "n m"]:
    """The `count` nearest other rows of each unit row, unsorted; all others if there are fewer."""
    n = len(rows)
    m = min(count, n - 1)
    if m < 1:
        return np.empty((n, 0), np.int64)
    return np.concatenate([_nearest(rows, start, m) for start in range(0, n, BLOCK)])


def _nearest(rows: Float32[ndarray, "n p"], start: int, m: int) -> Int[ndarray, "b m"]:
    block = rows[start : start + BLOCK]
    cosines = block @ rows.T
    every = np.arange(len(block))
    cosines[every, every + start] = -np.inf
    return np.argpartition(cosines, -m, axis=1)[:, -m:]
