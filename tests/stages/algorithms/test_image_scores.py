"""What is measured on pixels agrees with the formulas, and orders images as people would."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import convolve, gaussian_filter

from cpp_pipe.stages.algorithms.image_scores import (
    brightness,
    colourfulness,
    contrast,
    luma,
    sharpness,
)

IMAGES = arrays(np.uint8, st.tuples(st.integers(3, 12), st.integers(3, 12), st.just(3)))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@given(IMAGES)
def test_sharpness_is_the_variance_of_a_convolution(rgb):
    grey = luma(rgb)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], float)
    inside = convolve(grey.astype(float) * 255, kernel)[1:-1, 1:-1]
    # The grey levels are rounded to float32 before either.
    assert sharpness(grey) == pytest.approx(np.log10(1 + np.var(inside)), abs=1e-6)


@given(IMAGES)
def test_colourfulness_is_the_formula_of_hasler_and_suesstrunk(rgb):
    flat = [tuple(map(float, pixel)) for pixel in rgb.reshape(-1, 3)]
    rg = [r - g for r, g, b in flat]
    yb = [(r + g) / 2 - b for r, g, b in flat]
    spread = (np.var(rg) + np.var(yb)) ** 0.5
    mean = (np.mean(rg) ** 2 + np.mean(yb) ** 2) ** 0.5
    assert colourfulness(rgb) == pytest.approx(spread + 0.3 * mean, abs=1e-9)


@given(arrays(np.uint8, st.tuples(st.integers(3, 12), st.integers(3, 12))))
def test_a_grey_image_has_no_colour(grey):
    assert colourfulness(np.stack([grey] * 3, 2)) == 0


@given(IMAGES)
def test_brightness_and_contrast_are_mean_and_spread_within_their_ranges(rgb):
    grey = luma(rgb)
    by_hand = rgb.astype(float) @ [0.299, 0.587, 0.114] / 255
    assert brightness(grey) == pytest.approx(by_hand.mean(), abs=1e-6)
    assert contrast(grey) == pytest.approx(by_hand.std(), abs=1e-6)
    assert -1e-6 <= brightness(grey) <= 1 + 1e-6 and contrast(grey) <= 0.5 + 1e-6


@pytest.mark.parametrize("sigma", [0.5, 1, 3])
def test_a_blurred_image_is_less_sharp(sigma):
    grey = luma(noise())
    assert sharpness(gaussian_filter(grey, sigma)) < sharpness(grey) - 0.1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_has_neither_sharpness_nor_contrast(level):
    grey = luma(np.full((9, 7, 3), level, np.uint8))
    assert sharpness(grey) == 0 and contrast(grey) < 1e-6
    assert brightness(grey) == pytest.approx(level / 255)


@given(st.permutations(range(3)), st.booleans())
def test_mirroring_changes_no_score(order, is_upside_down):
    rgb = noise()[:, :, order]
    turned = rgb[::-1] if is_upside_down else rgb[:, ::-1]
    for score in (sharpness, brightness, contrast):
        assert score(luma(turned)) == pytest.approx(score(luma(rgb)), rel=1e-6)
    assert colourfulness(turned) == pytest.approx(colourfulness(rgb))
