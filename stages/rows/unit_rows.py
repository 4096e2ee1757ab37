"""Embeddings as unit rows in float32, and scores of these."""

from collections.abc import Callable

import numpy as np

from ...store import Artifact

_ROWS = 8192
"""Rows that are scored at once. An imported file of millions is one part: in float32 and float64,
with their similarities to words, its rows would take many times the memory of the part."""


def score_unit_rows(
    embeddings: Artifact,
    part: str,
    score: Callable[[np.ndarray], np.ndarray],
    report: Callable[[int], None],
) -> np.ndarray:
    """A score of each row of a part, float32 (n,).

    `score` gets embeddings, float32 (m, d), scaled to length 1, which float16 rounds. `report` gets
    the number of rows that were scored.
    """
    x = embeddings.embeddings(part)
    scores = np.empty(len(x), np.float32)
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS].astype(np.float32)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.maximum(length, np.finfo(np.float32).tiny)
        scores[start : start + _ROWS] = score(rows)
        report(len(rows))
    return scores
