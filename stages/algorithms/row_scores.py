"""Scores of images by their embeddings: of a text against chance, or of a linear head."""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

_LEAST_STD = 1e-6
"""Least standard deviation of a row's similarities with random words: less is rounding."""


def text_scores(
    x: Float32[ndarray, "n d"],
    text: Float32[ndarray, " d"],
    words: Float32[ndarray, "m d"],
    unlike: Float32[ndarray, " d"] | None = None,
) -> Float32[ndarray, " n"]:
    """How much more similar each image is to a text than to a random word, in standard deviations.

    Rows are of unit length. Zero-shot classification (Radford et al., 2021, section 3.1) uses the
    cosine with a text; we use its margin, because the range of cosines differs between models and
    between images. Without `unlike` the margin is the cosine with the text minus the mean of those
    with m random words, and the scale is the standard deviation of these: 0 is as similar as a
    random word. With `unlike` the margin is the cosine with the text minus that with `unlike`, and
    the scale is that of the margins of pairs of random words, whose mean is 0 and whose variance is
    twice that of a single word: 0 is equally similar to both texts.
    """
    cosines = x @ words.T  # (n, m)
    std = np.maximum(cosines.std(1, ddof=1), _LEAST_STD)
    if unlike is None:
        return (x @ text - cosines.mean(1)) / std
    return (x @ text - x @ unlike) / (std * np.float32(np.sqrt(2)))


def linear_scores(
    x: Float32[ndarray, "n d"], weight: Float32[ndarray, " d"], bias: float
) -> Float32[ndarray, " n"]:
    """x · weight + bias, in float64 before it is rounded."""
    return (x.astype(np.float64) @ weight.astype(np.float64) + bias).astype(np.float32)
