"""Embeddings as unit rows in float32."""

import numpy as np

from ...store import Artifact


def unit_rows(embeddings: Artifact, part: str) -> np.ndarray:
    """The embeddings of a part, float32 (n, d), scaled to length 1, which float16 rounds."""
    x = embeddings.embeddings(part).astype(np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.maximum(length, np.finfo(np.float32).tiny)
