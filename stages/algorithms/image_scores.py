"""Scores measured on the pixels of an image: sharpness, brightness, contrast, colourfulness."""

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue: ITU-R BT.601, as in JPEG."""

_LEVELS = 255
"""The brightest level: sharpness and colourfulness count in levels, as their sources do."""


def luma(rgb: UInt8[ndarray, "h w 3"]) -> Float32[ndarray, "h w"]:
    """The brightness of each pixel, from 0 to 1."""
    return rgb.astype(np.float32) @ _LUMA / np.float32(_LEVELS)


def sharpness(grey: Float32[ndarray, "h w"]) -> float:
    """log10(1 + variance of the Laplacian) of a grey image, 0 if it is flat.

    The variance of the Laplacian is LAPV of Pertuz et al. (2013), "Analysis of focus measure
    operators for shape-from-focus", after Pech-Pacheco et al. (2000); as there, with the kernel of
    four neighbours and levels from 0 to 255. Pixels at the edge, which lack a neighbour, do not
    count, so both sides need three pixels. It depends on the size: compare images of one size.
    """
    levels = grey.astype(np.float64) * _LEVELS
    inside = levels[1:-1, 1:-1]
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return float(np.log10(1 + (laplacian - 4 * inside).var()))


def brightness(grey: Float32[ndarray, "h w"]) -> float:
    """The mean of a grey image, from 0 (black) to 1 (white)."""
    return float(grey.mean(dtype=np.float64))


def contrast(grey: Float32[ndarray, "h w"]) -> float:
    """The standard deviation of a grey image, from 0 (flat) to 0.5 (half black, half white)."""
    return float(grey.std(dtype=np.float64))


def colourfulness(rgb: UInt8[ndarray, "h w 3"]) -> float:
    """How colourful people find an image: 0 is grey, 33 moderate, 109 extreme.

    The measure M^(3) of Hasler and Suesstrunk (2003), "Measuring colourfulness in natural images",
    with the spread and the mean of the opponent colours red - green and yellow - blue.
    """
    r, g, b = np.moveaxis(rgb.astype(np.float64), 2, 0)
    rg, yb = r - g, (r + g) / 2 - b
    spread = np.hypot(rg.std(), yb.std())
    mean = np.hypot(rg.mean(), yb.mean())
    return float(spread + 0.3 * mean)
