"""Copies of images among others: found by hashes and embeddings, confirmed by pixels."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from cpp_pipe.stages.algorithms.duplicates import cells, image_copies
from cpp_pipe.stages.algorithms.duplicates.confirmation import Confirmed
from cpp_pipe.stages.algorithms.duplicates.image_copies import find_copies
from cpp_pipe.stages.algorithms.duplicates.near_duplicates import NONE
from cpp_pipe.stages.algorithms.duplicates.registration import SIDE, Registration

from ....strategies import random_unit_rows
from .photographs import crop, grey, photograph

ORIGINALS = 120
COPIES = {
    "half the size": lambda image: image.resize((120, 90), Image.Resampling.LANCZOS),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: crop(image, 0.95, 0.3, 0.9),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned and mirrored": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
}


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Images and embeddings: each original, then a copy of each in turn."""
    originals = [photograph(seed) for seed in range(ORIGINALS)]
    changes = list(COPIES.values())
    copies = [changes[number % len(changes)](one) for number, one in enumerate(originals)]
    rows = random_unit_rows(ORIGINALS, 32, 0).float().numpy()
    rows += 0.5
    near = rows + 0.02 * np.random.default_rng(0).standard_normal(rows.shape).astype(np.float32)
    images = np.stack([grey(image) for image in (*originals, *copies)])
    return images, np.concatenate([rows, near]).astype(np.float16)


IMAGES, EMBEDDINGS = planted()


def copies_of(images: np.ndarray, embeddings: np.ndarray) -> Confirmed:
    return find_copies(
        images,
        lambda rows: embeddings[rows],
        threshold=0.965,
        least_cosine=0.9,
        neighbours=20,
    )


@pytest.fixture(params=["all pairs", "cells"])
def _path(request, monkeypatch):
    """Both ways of finding pairs, at the same size."""
    if request.param == "cells":
        monkeypatch.setattr(image_copies, "ALL_PAIRS", 0)
        monkeypatch.setattr(cells, "CELL_ROWS", 10)


@pytest.mark.usefixtures("_path")
def test_each_kind_of_copy_is_found_and_no_other_image():
    found = copies_of(IMAGES, EMBEDDINGS)
    assert (found.kept[:ORIGINALS] == NONE).all()
    kinds = list(COPIES)
    missed = [
        kinds[number % len(kinds)]
        for number in range(ORIGINALS)
        if found.kept[ORIGINALS + number] != number
    ]
    assert missed == []
    assert found.similarity.min() >= 0.965


def test_both_ways_find_the_same_copies(monkeypatch):
    exact = copies_of(IMAGES, EMBEDDINGS)
    monkeypatch.setattr(image_copies, "ALL_PAIRS", 0)
    monkeypatch.setattr(cells, "CELL_ROWS", 10)
    for _ in range(2):
        found = copies_of(IMAGES, EMBEDDINGS)
        np.testing.assert_array_equal(found.kept, exact.kept)
        np.testing.assert_array_equal(found.similarity, exact.similarity)


def test_crops_need_embeddings_and_whole_copies_do_not():
    apart = random_unit_rows(2 * ORIGINALS, 32, 5).half().numpy()
    found = copies_of(IMAGES, apart).kept[ORIGINALS:] != NONE
    kinds = np.array(list(COPIES))[np.arange(ORIGINALS) % len(COPIES)]
    assert found[kinds != "cropped"].all()
    assert found[kinds == "cropped"].mean() < 0.7


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_images_are_compared_too(n):
    found = copies_of(IMAGES[:n].repeat(2, 0), EMBEDDINGS[:n].repeat(2, 0))
    assert found.kept[::2].tolist() == [NONE] * n
    assert found.kept[1::2].tolist() == list(range(0, 2 * n, 2))


@pytest.mark.usefixtures("_path")
def test_copies_of_one_image_are_compared_once_each(monkeypatch):
    compared = []
    plain = Registration.correlations

    def counted(self, image, others, quarters=0, *, enough):
        compared.append(len(others))
        return plain(self, image, others, quarters, enough=enough)

    monkeypatch.setattr(Registration, "correlations", counted)
    n = 1500
    found = copies_of(IMAGES[:1].repeat(n, 0), EMBEDDINGS[:1].repeat(n, 0))
    assert (found.kept[1:] == 0).all()
    assert sum(compared) == n - 1


@pytest.mark.usefixtures("_path")
def test_flat_images_are_no_copies():
    flat = np.full((40, SIDE * SIDE), 200, np.uint8)
    assert (copies_of(flat, EMBEDDINGS[:1].repeat(40, 0)).kept == NONE).all()
