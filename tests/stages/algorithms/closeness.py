"""The relative error of arrays."""

import numpy as np
import torch


def relative_error(ours: torch.Tensor | np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over the largest entry, as the golden tolerances are stated."""
    if isinstance(ours, torch.Tensor):
        ours = ours.detach().double().numpy()
    largest = np.abs(theirs).max()
    difference = np.abs(ours - theirs).max()
    return float(difference / largest) if largest else float(difference)
