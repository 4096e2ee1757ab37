"""Copies of one image are told from others by their small grey images."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from cpp_pipe.stages.algorithms.proposals import propose
from cpp_pipe.stages.algorithms.registration import SIDE, Registration


def photograph(seed: int) -> Image.Image:
    """Smooth shapes with fine detail, 240 x 180."""
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (9, 12), dtype=np.uint8))
    large = np.asarray(small.resize((240, 180), Image.Resampling.BICUBIC), np.float32)
    noise = generator.normal(0, 12, large.shape)
    return Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8))


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.uint8).ravel()


def crop(image: Image.Image, kept: float, x: float, y: float) -> Image.Image:
    width, height = image.width * kept, image.height * kept
    left, top = x * (image.width - width), y * (image.height - height)
    return image.crop((round(left), round(top), round(left + width), round(top + height)))


def correlation(first: Image.Image, second: Image.Image) -> float:
    registration = Registration(np.stack([grey(first), grey(second)]))
    there, back = (
        float(registration.correlations(a, np.array([b]))[0]) for a, b in ((0, 1), (1, 0))
    )
    assert there == pytest.approx(back, abs=1e-5)
    return there


COPIES = {
    "itself": lambda image: image,
    "half the size": lambda image: image.resize((120, 90), Image.Resampling.LANCZOS),
    "mirrored": ImageOps.mirror,
    "brighter": lambda image: image.point(lambda value: min(255, value * 0.8 + 40)),
    "cropped by 5 %": lambda image: crop(image, 0.95, 0.3, 0.9),
    "cropped by 5 % at a corner": lambda image: crop(image, 0.95, 0, 1),
    "cropped and mirrored": lambda image: ImageOps.mirror(crop(image, 0.95, 1, 0.2)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_correlates(copy, seed):
    image = photograph(seed)
    assert correlation(image, copy(image)) > 0.96


@pytest.mark.parametrize("seed", range(3))
def test_another_photograph_and_a_flat_image_do_not(seed):
    image = photograph(seed)
    assert correlation(image, photograph(seed + 50)) < 0.9
    assert correlation(image, Image.new("L", (240, 180), 90)) == 0
    assert correlation(Image.new("L", (9, 9), 90), Image.new("L", (9, 9), 91)) == 0
    assert correlation(image, crop(image, 0.7, 0, 0)) < 0.96


def test_pairs_are_proposed_to_both_of_them():
    rows = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[7] = rows[3]
    near = propose(rows, 5, 0.6)
    cosines = rows @ rows.T
    for row, others in enumerate(near):
        assert row not in others
        assert all(cosines[row, other] >= 0.6 - 1e-6 for other in others)
        assert all(row in near[other] for other in others)
    assert 3 in near[7]
    assert [len(others) for others in propose(rows[:1], 5, 0.6)] == [0]
