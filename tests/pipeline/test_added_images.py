"""Clusters after images were added: the steps of docs/folder.md, "When you add images"."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits

from cpp_pipe import Run

from .cli import DIGITS, succeed

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "folder.md"


def commands() -> list[list[str]]:
    """The commands of the section, as words."""
    section = DOCS.read_text().partition("## When you add images")[2].partition("\n## ")[0]
    return [line.split() for line in re.findall(r"^\$ cpp-pipe (.*)$", section, re.MULTILINE)]


def draw(folder: Path, first: int, end: int) -> None:
    """Writes some of the digits as images."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(load_digits().images[first:end], start=first):
        image = Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((32, 32))
        image.save(folder / f"{number:04d}.png")


def numbers(store: Path) -> dict[str, int]:
    """The number of the cluster of each image."""
    made = Run.open(store, "photos").artifact("assignments")
    return dict(zip(made.column("key"), made.column("cluster"), strict=True))


def kept(old: dict[str, int], new: dict[str, int]) -> int:
    """How many images kept their cluster number."""
    return sum(new.get(key) == number for key, number in old.items())


def most(old: dict[str, int], new: dict[str, int]) -> int:
    """How many images could keep their number with the best numbering of the new clusters."""
    k = max(new.values()) + 1
    counts = np.zeros((k, max(*old.values(), k - 1) + 1))
    for key, number in old.items():
        if key in new:
            counts[new[key], number] += 1
    counts = counts[:, :k]
    return int(counts[linear_sum_assignment(counts, maximize=True)].sum())


@pytest.fixture(scope="module")
def clustered(tmp_path_factory) -> Path:
    """A folder that holds 120 images, and the store of a run of them; both were moved since."""
    folder = tmp_path_factory.mktemp("clustered")
    draw(folder / "photos", 0, 120)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(folder / "artifacts", commands()[0])
    return folder.rename(folder.with_name("moved"))


@pytest.fixture
def photos(clustered, tmp_path, monkeypatch) -> Path:
    """The store of a copy of that folder, which is the working folder."""
    shutil.copytree(clustered, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy" / "artifacts"


def run(store: Path, words: list[str]) -> None:
    """A command of the docs with a small model and few words."""
    succeed(store, *words, *DIGITS, "--vocabulary", "digits-words.txt")


@pytest.mark.parametrize("where", ["photos", "photos/more"])
def test_added_images_change_no_number_of_the_others(photos, where):
    again, refit = commands()
    before = numbers(photos)
    draw(photos.parent / where, 120, 140)
    run(photos, again)
    after = numbers(photos)
    assert (len(before), len(after), kept(before, after)) == (120, 140, 120)
    version = Run.open(photos, "photos").record.versions["assignments"]

    # The same once more changes nothing at all.
    run(photos, again)
    assert Run.open(photos, "photos").record.versions["assignments"] == version

    # Clusters are found again only on demand, and follow the old numbers then.
    heads = Run.open(photos, "photos").record.versions["heads"]
    run(photos, refit)
    assert Run.open(photos, "photos").record.versions["heads"] != heads
    found = numbers(photos)
    assert kept(after, found) == most(after, found) > 0


def test_clusters_of_another_k_follow_the_old_numbers(photos):
    succeed(photos, "assign", "--k", "7", "--run", "photos")
    for k in (5, 9, 6):
        before = numbers(photos)
        succeed(photos, "assign", "--k", str(k), "--run", "photos")
        after = numbers(photos)
        assert set(after.values()) == set(range(k))
        assert kept(before, after) == most(before, after) > 0
    content = Run.open(photos, "photos").artifact("assignments").content
    done = succeed(photos, "assign", "--k", "6", "--run", "photos")
    assert "nothing to do" in done.err
    assert Run.open(photos, "photos").artifact("assignments").content == content


def test_removed_or_replaced_images_are_clustered_again(photos):
    before = numbers(photos)
    (photos.parent / "photos" / "0003.png").unlink()
    run(photos, commands()[0])
    after = numbers(photos)
    assert len(after) == 119 and kept(before, after) == most(before, after)
