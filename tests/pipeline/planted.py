"""Rows with planted clusters."""

import numpy as np


def groups(count: int, of: int, seed: int) -> np.ndarray:
    """Unit rows around `of` axes in turn."""
    generator = np.random.default_rng(seed)
    rows = 4 * np.eye(of, 24)[np.arange(count) % of] + 0.5 * generator.standard_normal((count, 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
