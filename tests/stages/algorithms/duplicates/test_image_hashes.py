"""Hashes of small grey images: of turned images, and pairs that differ in few bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.duplicates import image_hashes as module
from cpp_pipe.stages.algorithms.duplicates.image_hashes import (
    DISTANCE,
    distances,
    hash_images,
    near_hashes,
    turned,
)
from cpp_pipe.stages.algorithms.duplicates.registration import SIDE

from ....strategies import seeds
from .photographs import COPIES, grey, photograph


def random_hashes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 2**64, n, np.uint64) & ~np.uint64(1)


def flip_bits(hashes: np.ndarray, count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    places = [generator.choice(np.arange(1, 64), count, replace=False) for _ in hashes]
    masks = [sum(1 << int(place) for place in row) for row in places]
    return hashes ^ np.array(masks, np.uint64)


def mirrored(image: np.ndarray) -> np.ndarray:
    return image.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(len(image), -1)


@pytest.mark.parametrize("quarters", range(4))
def test_hashes_of_turned_images_follow_from_their_own(quarters):
    images = np.stack([grey(photograph(seed)) for seed in range(20)])
    turns = np.rot90(images.reshape(-1, SIDE, SIDE), quarters, (1, 2)).reshape(20, -1)
    expected = turned(hash_images(images), quarters)
    assert np.bitwise_count(hash_images(turns) ^ expected).max() <= 1
    assert distances(hash_images(mirrored(turns)), expected).max() <= 1


@pytest.mark.parametrize("name", [name for name in COPIES if not name.startswith("cropped")])
def test_hashes_of_copies_are_near_and_of_other_images_far(name):
    images = np.stack([grey(photograph(seed)) for seed in range(20)])
    copies = np.stack([grey(COPIES[name](photograph(seed))) for seed in range(20)])
    first, second = hash_images(images), hash_images(copies)
    assert distances(first, second).max() <= DISTANCE
    assert distances(first, np.roll(second, 1)).min() > DISTANCE


def test_flat_images_have_no_hash_and_are_in_no_pair():
    flat = np.full((3, SIDE * SIDE), 90, np.uint8)
    assert hash_images(flat).tolist() == [0, 0, 0]
    assert len(near_hashes(hash_images(flat))) == 0


@given(seeds, st.integers(0, DISTANCE), st.integers(0, 3), st.booleans())
def test_every_pair_within_the_distance_is_found_whatever_bits_differ(
    seed, count, quarters, is_mirrored
):
    hashes = random_hashes(60, seed)
    others = turned(flip_bits(hashes[:20], count, seed), quarters)
    others = others ^ module._ODD_ACROSS if is_mirrored else others
    pairs = near_hashes(np.concatenate([hashes, others])).tolist()
    assert pairs == [[row, 60 + row] for row in range(20)]


def test_pairs_are_those_of_a_comparison_of_all():
    hashes = random_hashes(300, 0)
    hashes = np.concatenate([hashes, flip_bits(hashes, 3, 1), flip_bits(hashes, 6, 2)])
    versions = np.stack([turned(hashes, quarters) for quarters in range(4)])
    away = np.stack([distances(version[:, None], hashes[None]) for version in versions]).min(0)
    expected = np.argwhere(np.triu(away <= DISTANCE, 1))
    assert near_hashes(hashes).tolist() == expected.tolist()


def test_equal_hashes_are_linked_by_few_pairs():
    n = 3000
    pairs = near_hashes(np.full(n, random_hashes(1, 0)[0]))
    assert len(pairs) < 2 * module._MOST * n
    reached = np.arange(n)
    for first, second in pairs:  # in ascending order, so that one pass joins a chain
        reached[second] = min(reached[first], reached[second])
    assert (reached == 0).all()


def test_no_hashes_and_one_have_no_pairs():
    assert near_hashes(random_hashes(0, 0)).shape == near_hashes(random_hashes(1, 0)).shape
