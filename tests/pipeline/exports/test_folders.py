"""Exports for people, with decisions: a folder for each cluster, and a CSV file."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.exports.file_names import FileNames, to_file_name
from cpp_pipe.store import Store

from ...stages.sources.image_files import write_image
from ..cli import DIGITS, fail, succeed


@pytest.fixture(scope="module")
def store(tmp_path_factory, copy_of_run) -> Path:
    """A run of digits in shards, with a name, a tag and an exclusion."""
    made = copy_of_run(tmp_path_factory.mktemp("folders") / "artifacts")
    edits = Run.open(Store(made)).edits
    first = Run.open(Store(made)).artifact("assignments").column("cluster")[0]
    edits.name(first, "rings / <circles>")
    edits.tag("odd", images=[1, 2])
    edits.exclude(images=[5])
    return made


def test_images_lie_in_the_folder_of_their_cluster_byte_for_byte(store, tmp_path):
    out = tmp_path / "clusters"
    done = succeed(store, "export", "folders", "--edits", "open", "--out", out)
    assert re.search(rf"^wrote 59 images in \d+ folders to {re.escape(str(out))}$", done.out, re.M)
    assert "1 excluded image is left out" in done.out and "60 images" not in done.out
    run = Run.open(Store(store))
    cluster = run.artifact("assignments").column("cluster")
    files = {int(path.name.split("-")[0]): path for path in out.rglob("*.png")}
    assert sorted(files) == [row for row in range(60) if row != 5]
    for row, path in files.items():
        assert path.parent.name.startswith(f"{cluster[row]:04d}")
        with Image.open(path) as image:
            np.testing.assert_array_equal(
                np.asarray(image.convert("RGB")), np.asarray(run.image(row))
            )
    assert files[0].parent.name == f"{cluster[0]:04d} rings _ _circles_"
    assert "exists already" in fail(store, "export", "folders", "--out", out)


def test_excluded_images_need_not_be_there_any_more(tmp_path):
    """Their folder was opened, though nothing of it is exported."""
    for folder in "ab":
        for number in range(3):
            write_image(tmp_path / "photos" / folder / f"{number}.png", number)
    own = tmp_path / "artifacts"
    succeed(own, "embed", "--images", tmp_path / "photos", *DIGITS)
    succeed(own, "assign", "--k", "2")
    run = Run.open(own)
    keys = run.artifact("embeddings").column("key")
    run.edits.exclude(images=[row for row, key in enumerate(keys) if key.startswith("b/")])
    shutil.rmtree(tmp_path / "photos" / "b")
    done = succeed(own, "export", "folders", "--edits", "open", "--out", tmp_path / "out")
    assert "wrote 3 images" in done.out and len(list((tmp_path / "out").rglob("*.png"))) == 3
    assert "photos was changed" in fail(own, "export", "folders", "--out", tmp_path / "all")


def test_file_names_of_a_selection_sort_like_those_of_all_images(store, tmp_path):
    succeed(store, "export", "folders", "--where", "width > 0", "--out", tmp_path / "all")
    succeed(store, "export", "folders", "--where", "offset < 7000", "--out", tmp_path / "few")
    every = {path.relative_to(tmp_path / "all") for path in (tmp_path / "all").rglob("*.png")}
    few = {path.relative_to(tmp_path / "few") for path in (tmp_path / "few").rglob("*.png")}
    assert 0 < len(few) <= 10 and few < every


def test_links_lead_to_the_images_of_a_folder_and_shards_have_none(store, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        Image.new("RGB", (16, 16), (20 * number, 0, 255 - 20 * number)).save(
            photos / f"{number}.png"
        )
    own = tmp_path / "artifacts"
    succeed(own, "embed", "--images", photos, *DIGITS)
    succeed(own, "assign", "--k", "2")
    succeed(own, "export", "folders", "--link", "--out", tmp_path / "linked")
    links = sorted((tmp_path / "linked").rglob("*.png"))
    assert len(links) == 12
    assert all(link.is_symlink() for link in links)
    assert sorted(link.resolve() for link in links) == sorted(photos.glob("*.png"))
    message = fail(store, "export", "folders", "--link", "--out", tmp_path / "none")
    assert "does not lie in a folder" in message
    assert not (tmp_path / "none").exists()


def test_csv_has_a_row_an_image_and_no_vectors(store, tmp_path):
    succeed(store, "export", "csv", "--edits", "open", "--out", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    run = Run.open(Store(store))
    assert [row["key"] for row in rows] == run.artifact("embeddings").column("key")
    assert [int(row["cluster"]) for row in rows] == run.artifact("assignments").column("cluster")
    assert [json.loads(row["tags"]) for row in rows[:4]] == [[], ["odd"], ["odd"], []]
    assert [number for number, row in enumerate(rows) if row["excluded"] == "true"] == [5]
    assert not {"embedding", "feature"} & rows[0].keys()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("steam engines", "steam engines"),
        ("a/b\\c:d*e?", "a_b_c_d_e_"),
        ("../..", "_"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("café 猫", "café 猫"),
        ("x" * 99, "x" * 60),
        ("猫" * 99, "猫" * 60),
        ("ends. ", "ends"),
        ("", ""),
    ],
)
def test_names_of_files_are_plain(words, name):
    assert to_file_name(words) == name


def test_a_long_key_of_any_alphabet_is_a_name_that_file_systems_take():
    names = FileNames()
    given = [names.name("猫" * 200 + ".jpg", "jpg") for _ in range(2)]
    assert len(set(given)) == 2
    assert all("猫" * 60 in name and len(name.encode()) < 255 for name in given)


@pytest.mark.parametrize("name", ["images.csv", "it's $5.csv"])
def test_the_command_that_reads_a_table_can_be_typed_as_printed(store, tmp_path, name):
    out = tmp_path / name
    line = succeed(store, "export", "csv", "--out", out).out.splitlines()[-1]
    words = shlex.split(line.removeprefix("next: "))
    escaped = str(out).replace("'", "''")
    assert words == ["duckdb", "-c", f"SELECT key, shard FROM '{escaped}'"]
    assert ("'\"'" in line) == ("$" in name)


def test_contradictory_flags_are_refused(store, tmp_path):
    assert "--link goes with export folders" in fail(
        store, "export", "csv", "--link", "--out", tmp_path / "x.csv"
    )
    assert "--edits goes with export" in fail(
        store, "export", "lancedb", "--edits", "open", "--out", tmp_path / "x"
    )
