"""What an image goes through before a network sees it, split where pixels become floats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True)
class ToBytes:
    """The steps of a preprocessing on images, and then their pixels as bytes."""

    steps: "tuple[Callable[[Image.Image], Image.Image], ...]"

    def __call__(self, image: "Image.Image") -> "torch.Tensor":
        """The pixels (height, width, 3) of an RGB image, uint8."""
        import torch

        for step in self.steps:
            image = step(image)
        return torch.from_numpy(np.array(image))


def split_preprocessing(
    preprocess: Any, device: str, to_floats: type, to_rgb: tuple[type, ...] = ()
) -> dict[str, Any]:
    """A preprocessing as fields of `Encoder`, split where images become floats.

    Bytes need a quarter of the transfer between processes and to a GPU, and a whole batch is turned
    into the same floats at once. `to_floats` is the step that does so; steps of a type in `to_rgb`
    are left out, because decoded images are RGB already. A preprocessing with another ending stays
    whole.
    """
    import torch
    from torchvision.transforms import Compose, Normalize

    steps = preprocess.transforms if isinstance(preprocess, Compose) else []
    match steps:
        case [*before, middle, Normalize() as last] if isinstance(middle, to_floats):
            kept = tuple(step for step in before if not isinstance(step, to_rgb))
            mean, std = (
                torch.as_tensor(value, dtype=torch.float32, device=device)
                for value in (last.mean, last.std)
            )
            return {
                "preprocess": ToBytes(kept),
                "mean": mean.view(-1, 1, 1),
                "std": std.view(-1, 1, 1),
            }
    return {"preprocess": preprocess}
