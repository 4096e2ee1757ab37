"""Synthetic photographs, and copies of them."""

import numpy as np
from PIL import Image, ImageOps

from cpp_pipe.stages.algorithms.duplicates.registration import SIDE


def photograph(seed: int) -> Image.Image:
    """Smooth shapes with fine detail, 240 x 180."""
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (9, 12), dtype=np.uint8))
    large = np.asarray(small.resize((240, 180), Image.Resampling.BICUBIC), np.float32)
    noise = generator.normal(0, 12, large.shape)
    return Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8))


def grey(image: Image.Image) -> np.ndarray:
    """The small grey image that copies are compared by, as a row."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.uint8).ravel()


def crop(image: Image.Image, kept: float, x: float, y: float) -> Image.Image:
    """A share of each side; x and y from 0 to 1 say where it lies."""
    width, height = image.width * kept, image.height * kept
    left, top = x * (image.width - width), y * (image.height - height)
    return image.crop((round(left), round(top), round(left + width), round(top + height)))


COPIES = {
    "itself": lambda image: image,
    "half the size": lambda image: image.resize((120, 90), Image.Resampling.LANCZOS),
    "mirrored": ImageOps.mirror,
    "brighter": lambda image: image.point(lambda value: min(255, value * 0.8 + 40)),
    "cropped by 5 %": lambda image: crop(image, 0.95, 0.3, 0.9),
    "cropped by 5 % at a corner": lambda image: crop(image, 0.95, 0, 1),
    "cropped and mirrored": lambda image: ImageOps.mirror(crop(image, 0.95, 1, 0.2)),
}
"""Ways to copy an image."""
