"""The tiers of duplicates on a folder of photographs: equal bytes, same image, similar images."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from cpp_pipe.stages.algorithms.duplicates import cells, large_sets

from ...stages.algorithms.duplicates.photographs import crop, photograph
from ..cli import DIGITS, fail, succeed

EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Twelve photographs, and copies of the first few."""
    folder = tmp_path_factory.mktemp("copies") / "photos"
    folder.mkdir()
    for seed in range(12):
        photograph(seed).save(folder / f"{seed:02d}.png")
    shutil.copy(folder / "00.png", folder / "00-equal.png")
    shutil.copy(folder / "00.png", folder / "00-again.png")
    photograph(1).save(folder / "01-encoded.jpg", quality=60)
    photograph(2).resize((120, 90)).save(folder / "02-small.png")
    ImageOps.mirror(photograph(3)).save(folder / "03-mirrored.png")
    crop(photograph(4), 0.95, 0.5, 0.5).save(folder / "04-cropped.png")
    shutil.copy(folder / "04-cropped.png", folder / "04-cropped-again.png")
    photograph(6).resize((120, 90)).rotate(90, expand=True).save(folder / "06-turned.png")
    oriented = Image.Exif()
    oriented[EXIF_ORIENTATION] = 6
    photograph(7).rotate(90, expand=True).save(folder / "07-exif.jpg", quality=85, exif=oriented)
    return folder


@pytest.fixture(scope="module")
def store(photos) -> Path:
    made = photos.parent / "artifacts"
    succeed(made, "embed", "--images", photos, *DIGITS)
    return made


def groups(store: Path, tier: str, *flags: str) -> list[list[str]]:
    """Keys of each group, the kept one first."""
    found = json.loads(
        succeed(store, "duplicates", "--tier", tier, "-n", "50", *flags, "--json").out
    )
    return sorted([row["key"] for row in group] for group in found["largest_groups"])


def test_identical_files_are_those_of_equal_bytes(store):
    assert groups(store, "identical") == [
        ["00-again.png", "00-equal.png", "00.png"],
        ["04-cropped-again.png", "04-cropped.png"],
    ]


def test_copies_of_one_image_are_found_and_the_largest_is_kept(store):
    found = groups(store, "same")
    assert [sorted(group) for group in found] == [
        ["00-again.png", "00-equal.png", "00.png"],
        ["01-encoded.jpg", "01.png"],
        ["02-small.png", "02.png"],
        ["03-mirrored.png", "03.png"],
        ["04-cropped-again.png", "04-cropped.png", "04.png"],
        ["06-turned.png", "06.png"],
        ["07-exif.jpg", "07.png"],
    ]
    assert [group[0] for group in found if "02.png" in group or "04.png" in group] == [
        "02.png",
        "04.png",
    ]
    table = succeed(store, "duplicates", "--tier", "same").out
    assert "7 groups of copies of one image (correlation 0.965 or more) among 21" in table
    assert "curate --drop-duplicates --tier same" in table


def test_pairs_that_were_not_compared_are_reported(photos, monkeypatch):
    """In so small a set every pair is compared, unless no cell is visited."""
    monkeypatch.setattr(large_sets, "ALL_PAIRS", 5)
    monkeypatch.setattr(large_sets, "_RUN", 2)
    monkeypatch.setattr(large_sets, "VISITED", 1)
    monkeypatch.setattr(cells, "CELL_ROWS", 2)
    monkeypatch.setattr(cells, "_SAMPLE", 2)
    large = photos.parent / "large"
    succeed(large, "embed", "--images", photos, *DIGITS)
    output = succeed(large, "duplicates", "--above", "0.5").out
    facts = json.loads(succeed(large, "duplicates", "--above", "0.5", "--json").out)
    assert 0 < facts["recall"] < 1
    assert f"{facts['recall']:.2%} of the near pairs" in " ".join(output.split())


def test_curate_drops_the_copies_of_a_tier(store, tmp_path):
    out = succeed(store, "curate", "--drop-duplicates", "--tier", "same", "--dry-run").out
    assert "chosen 12 + 9 near-duplicates" in out
    out = succeed(store, "curate", "--drop-duplicates", "--tier", "identical", "--dry-run").out
    assert "chosen 18 + 3 near-duplicates" in out


@pytest.mark.parametrize(
    "flags", ["--tier identical", "--tier same", "--tier same --above 0.9712345"]
)
def test_copies_that_are_out_of_date_are_made_again_with_their_settings(photos, tmp_path, flags):
    shutil.copytree(photos, tmp_path / "photos")
    store = tmp_path / "artifacts"
    succeed(store, "embed", "--images", tmp_path / "photos", *DIGITS)
    succeed(store, "duplicates", *flags.split())
    (tmp_path / "photos" / "10.png").unlink()
    succeed(store, "embed", "--images", tmp_path / "photos", *DIGITS)
    assert f"run `cpp-pipe duplicates {flags} --store" in succeed(store, "status").out


def test_a_folder_with_a_removed_image_is_named(photos, tmp_path):
    other = tmp_path / "photos"
    shutil.copytree(photos, other)
    store = tmp_path / "artifacts"
    succeed(store, "embed", "--images", other, *DIGITS)
    (other / "05.png").unlink()
    message = fail(store, "duplicates", "--tier", "same")
    assert "the images of part photos-" in message and "are not where they were" in message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["duplicates", "--tier", "similar"], "--tier must be identical, same, alike"),
        (["duplicates", "--tier", "identical", "--above", "0.9"], "where bytes are compared"),
        (["duplicates", "--tier", "same", "--above", "2"], "at most 1"),
        (["curate", "--tier", "same", "--dry-run"], "needs --drop-duplicates"),
    ],
)
def test_contradictory_flags_are_refused(store, command, message):
    assert message in fail(store, *command)
