"""Copies of one image are distinguished from other images by small grey images."""

import numpy as np
import pytest
from PIL import Image

from cpp_pipe.stages.algorithms.duplicates.proposals import propose
from cpp_pipe.stages.algorithms.duplicates.registration import SIDE, Registration

from .photographs import COPIES, crop, grey, photograph


def correlation(first: Image.Image, second: Image.Image) -> float:
    registration = Registration(np.stack([grey(first), grey(second)]))
    there, back = (
        float(registration.correlations(a, np.array([b]))[0]) for a, b in ((0, 1), (1, 0))
    )
    assert there == pytest.approx(back, abs=1e-5)
    return there


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_correlates(copy, seed):
    image = photograph(seed)
    assert correlation(image, copy(image)) > 0.96


@pytest.mark.parametrize("seed", range(3))
def test_another_photograph_and_a_flat_image_do_not_correlate(seed):
    image = photograph(seed)
    assert correlation(image, photograph(seed + 50)) < 0.9
    assert correlation(image, Image.new("L", (240, 180), 90)) == 0
    assert correlation(Image.new("L", (9, 9), 90), Image.new("L", (9, 9), 91)) == 0
    assert correlation(image, crop(image, 0.7, 0, 0)) < 0.96


def test_pairs_of_nearest_rows_are_proposed_once():
    rows = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[7] = rows[3]
    pairs = propose(rows, 5, 0.6)
    cosines = rows @ rows.T
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (cosines[pairs[:, 0], pairs[:, 1]] >= 0.6 - 1e-6).all()
    assert [3, 7] in pairs.tolist()
    assert len(propose(rows[:1], 5, 0.6)) == len(propose(rows[:0], 5, 0.6)) == 0


@pytest.mark.parametrize("quarters", range(4))
def test_a_turned_image_correlates_when_it_is_turned_back(quarters):
    first = grey(photograph(0)).reshape(SIDE, SIDE)
    second = np.rot90(first, quarters)
    registration = Registration(np.stack([first.ravel(), second.ravel()]))
    assert registration.correlations(0, np.array([1]), quarters)[0] > 0.999
    if quarters:
        assert registration.correlations(0, np.array([1]))[0] < 0.9


def test_crops_are_tried_only_if_whole_images_do_not_correlate_enough():
    images = np.stack([grey(photograph(0)), grey(crop(photograph(0), 0.98, 0, 0))])
    registration, other = Registration(images), np.array([1])
    best = registration.correlations(0, other)[0]
    whole = registration.correlations(0, other, enough=0.5)[0]
    assert 0.5 <= whole < best
    assert registration.correlations(0, other, enough=0.999)[0] == best
