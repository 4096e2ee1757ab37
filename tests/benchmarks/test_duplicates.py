"""The whole path finds copies of photographs, and mistakes few other images for copies."""

from argparse import Namespace

import numpy as np
import pytest
import torch

from benchmarks import duplicates
from cpp_pipe.stages.algorithms.duplicates.near_duplicates import near_duplicates
from cpp_pipe.stages.duplicates import THRESHOLD

from ..stages.small_models import mobile_clip


@pytest.mark.slow
def test_copies_of_photographs_are_found(shared, tmp_path):
    files = mobile_clip(shared)
    arguments = Namespace(
        shards=str(shared / "data" / "caltech101" / "00008.tar"),
        model="mnv2-clip",
        pretrained=str(files["weights"]),
        model_config=str(files["model_config"]),
        images=20,
        store=tmp_path,
        device="cpu",
        seed=0,
    )
    line = duplicates.on_images(arguments)
    assert line["n"] == 114 + 4 * 20
    recall = line["curve"]["0.97"]["recall"]
    # To a small model, half the size is another image.
    assert min(recall[kind] for kind in ("reencoded", "cropped", "flipped")) >= 0.8
    assert line["curve"]["0.97"]["precision"] >= 0.8
    assert min(line["recall"].values()) >= 0.9
    assert line["precision"] >= 0.9
    assert line["curve"]["0.85"]["precision"] < line["curve"]["0.97"]["precision"]


def test_synthetic_rows_hold_the_planted_copies(shared):
    shards = str(shared / "data" / "caltech101" / "00008.tar")
    figures = duplicates.on_made(2000, shards, 0, "cpu")
    for tier in ("alike", "same"):
        assert figures[tier]["planted"] == 20
        assert figures[tier]["dropped"] >= 18
    assert figures["alike"]["recall"] == 1
    assert min(figures["same"]["recall"].values()) >= 0.8


def test_the_default_finds_mirrored_images_of_a_real_set(shared):
    """In Caltech-101, leopard n + 100 mirrors leopard n; ViT-B/32 embedded both."""
    path = shared / "data" / "clip_vitb32" / "caltech101.npz"
    with np.load(path, allow_pickle=False) as file:
        x, keys = file["x"], file["key"].astype(str).tolist()
    row = {key: number for number, key in enumerate(keys)}
    leopards = [key for key in keys if key.startswith("leopard_")]
    mirrored = {key: f"leopard_{int(key[-4:]) + 100:04d}" for key in leopards}
    twins = [(row[key], row[other]) for key, other in mirrored.items() if other in row]
    assert len(twins) == 22
    kept = near_duplicates(torch.from_numpy(x), torch.arange(len(x)), THRESHOLD).kept
    group = np.where(kept < 0, np.arange(len(x)), kept)
    found = sum(group[first] == group[second] for first, second in twins)
    assert found >= 20
    is_leopard = np.array([key in mirrored for key in keys])
    assert (kept[~is_leopard] >= 0).mean() < 0.03
