"""The preprocessing of an image for a network, split where pixels become floats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sources.images.pixels import MAX_PIXELS, UndecodableImage

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """A preprocessing that refuses images too thin for it.

    Most models scale the shorter side to their own size, and only then cut the longer one: a PNG of
    1 x 100,000 pixels has a few hundred bytes, and would become 224 x 22,400,000 pixels.
    """

    steps: "Callable[[Image.Image], torch.Tensor]"
    size: int
    """Pixels to which the shorter side is scaled."""
    max_pixels: int = MAX_PIXELS

    def __call__(self, image: "Image.Image") -> "torch.Tensor":
        """The preprocessed image; UndecodableImage if scaling makes it too large."""
        shorter, longer = sorted(image.size)
        if longer * self.size**2 > self.max_pixels * shorter:
            raise UndecodableImage(
                "too_large",
                f"{image.width} x {image.height} pixels, too thin for a model that scales the "
                f"shorter side to {self.size}",
            )
        try:
            return self.steps(image)
        except MemoryError as error:
            raise UndecodableImage("too_large", "no memory to scale it for the model") from error


@dataclass(frozen=True)
class ToBytes:
    """The steps of a preprocessing that take images, and then the pixels as bytes."""

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
