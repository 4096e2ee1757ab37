"""Images of any mode as RGB of 8 bits, and turned as their EXIF orientation says."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_WHITES = (255, 4095, 65535)
"""Values of white in whole numbers of 8, 12 and 16 bits. Cameras and scanners write 12 bits, and
programs write 8, into files of 16; divided by 257 these would be black."""

_DARKEST_FLOATS = 16
"""Floats from 0 to 255 are grey levels if some are above this; no image is darker."""


def to_rgb(image: "Image") -> "Image":
    """A loaded image as RGB: what Pillow's `convert` gives, if that does not clip.

    `convert` makes all numbers above 255 white, and floats from 0 to 1 black. Here whole numbers
    are divided so that the largest number of their depth is white. Floats are scaled from 0 to 1,
    or if they are neither that nor grey levels, from their lowest to their highest; those that are
    not finite are black. LAB goes through its colour profile.
    """
    if image.mode == "RGB":
        return image  # convert() would copy up to 256 MiB
    # The transparent colour does not change the RGB values, but Pillow warns about it.
    image.info.pop("transparency", None)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_numbers(image)
    return _from_lab(image) if image.mode == "LAB" else image.convert("RGB")


def turn_upright(rgb: "Image", orientation: object) -> "Image":
    """An image turned and mirrored by its EXIF orientation; unchanged if that is 1 or unknown."""
    from PIL.Image import Transpose

    steps = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    step = steps.get(orientation) if isinstance(orientation, int) else None
    return rgb if step is None else rgb.transpose(step)


def grey_levels(values: np.ndarray) -> np.ndarray:
    """Numbers of any range as grey levels, uint8; see `to_rgb`."""
    is_finite = np.isfinite(values)
    finite = values[is_finite]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    is_whole = values.dtype.kind in "iu"
    if low >= 0 and high <= 1 and not is_whole:
        low, high = 0.0, 1.0
    elif low >= 0 and _DARKEST_FLOATS < high <= 255 and not is_whole:
        return np.where(is_finite, values, 0).astype(np.uint8)
    elif low >= 0 and high <= _WHITES[-1] and is_whole:
        # Lossy formats, such as HEIF, exceed white a little.
        low, high = 0.0, float(next(white for white in _WHITES if high <= 1.02 * white))
    levels = (np.where(is_finite, values, low).astype(np.float64) - low) * 255
    return np.rint(levels / (high - low or 1.0)).clip(0, 255).astype(np.uint8)


def _from_numbers(image: "Image") -> "Image":
    from PIL import Image

    return Image.fromarray(grey_levels(np.asarray(image))).convert("RGB")


def _from_lab(image: "Image") -> "Image":
    from PIL import Image, ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert isinstance(converted, Image.Image)
    return converted
