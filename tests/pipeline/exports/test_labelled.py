"""Data sets whose classes are the clusters: each opens in its library."""

import gc
import importlib
import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
import time
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.curation.sources import try_images
from cpp_pipe.pipeline.exports.coco import export_coco
from cpp_pipe.pipeline.exports.file_names import FileNames, fold_case, make_unique
from cpp_pipe.pipeline.exports.image_table import ImageTable
from cpp_pipe.pipeline.exports.labelled_images import LabelledImages
from cpp_pipe.pipeline.view.images import read_row
from cpp_pipe.store import MissingError, Store

from ..cli import DIGITS, fail, succeed

FORMS = ("coco", "imagefolder", "webdataset", "huggingface")
EXCLUDED = 5
NAME = "test tube / <rings>"
"""Of the first row's cluster: no folder can have it, and datasets would take it for a split."""

_OPEN_DATASETS = """
import hashlib, io, json, sys
import datasets
datasets.disable_progress_bars()
found = datasets.load_dataset(sys.argv[1])
rows = [
    {"split": split, **{n: v for n, v in row.items() if n != "image"}, "size": row["image"].size,
     "name": found[split].features["label"].int2str(row["label"])}
    for split in found for row in found[split]
]
raw = {}
for split in found:
    for row in found[split].cast_column("image", datasets.Image(decode=False)):
        if row["image"]["bytes"]:
            raw[row["key"]] = hashlib.sha256(row["image"]["bytes"]).hexdigest()
types = {n: type(f).__name__ for n, f in next(iter(found.values())).features.items()}
print("found", json.dumps({"rows": rows, "types": types, "raw": raw}))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory, copy_of_run) -> Path:
    """A run of digits with a name that two clusters share, a tag and an exclusion."""
    made = copy_of_run(tmp_path_factory.mktemp("labelled") / "artifacts")
    run = Run.open(Store(made))
    clusters = run.artifact("assignments").column("cluster")
    other = next(number for number in clusters if number != clusters[0])
    run.edits.name(clusters[0], NAME)
    run.edits.name(other, NAME)
    run.edits.tag("odd", images=[1, 2])
    run.edits.exclude(images=[EXCLUDED])
    return made


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    """A function that writes a data set once, with decisions, and returns its folder."""
    folder, paths = tmp_path_factory.mktemp("exported"), {}

    def export(form: str, *flags: str) -> Path:
        words = (form, *flags)
        if words not in paths:
            paths[words] = folder / str(len(paths))
            out = ("--out", paths[words])
            succeed(store, "export", form, "--edits", "open", *out, *flags)
        return paths[words]

    return export


def load_with_datasets(folder: Path, cache: Path) -> dict:
    """The data set that `datasets` reads from a folder, without a network."""
    if find_spec("datasets") is None:
        pytest.skip("datasets is not installed: it brings pandas, which slows every process down")
    offline = {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", _OPEN_DATASETS, str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **offline}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.split("found ", 1)[1])


def read_webdataset(shards: list[Path]) -> list[dict]:
    """The samples that webdataset reads, not decoded."""
    from webdataset.compat import WebDataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files to be closed
        reader = WebDataset([str(path) for path in shards], shardshuffle=False)
        samples = list(reader)
        reader.close()
        del reader
        gc.collect()
    return samples


def expected_rows(store: Path) -> list[dict]:
    """Key, cluster, confidence and tags of all images that are not excluded, as decided."""
    run = Run.open(Store(store))
    edited = run.edits.edited()
    embeddings, assignments = run.artifact("embeddings"), run.artifact("assignments")
    rows = zip(
        embeddings.column("key"),
        embeddings.column("shard"),
        edited.cluster.tolist(),
        assignments.column("confidence"),
        embeddings.column("label"),
        embeddings.column("caption"),
        strict=True,
    )
    names = ("key", "shard", "cluster", "confidence", "given", "caption")
    return [
        {**dict(zip(names, values, strict=True)), "tags": edited.tags_of(row), "row": row}
        for row, values in enumerate(rows)
        if row != EXCLUDED
    ]


def class_names(store: Path) -> dict[int, str]:
    """The given names of clusters, made unique; captions of those without a name."""
    run = Run.open(Store(store))
    captions = run.artifact("captions").table("captions").to_pylist()
    names = {row["cluster"]: row["caption"] for row in captions if row["rank"] == 1}
    names |= {number: f"{NAME} {number}" for number in run.edits.edited().names}
    return names


# What all of them share.


@pytest.mark.parametrize("form", FORMS)
def test_equal_inputs_give_equal_bytes(store, exported, tmp_path, form):
    first = exported(form)
    succeed(store, "export", form, "--edits", "open", "--out", tmp_path / "again")
    contents = [
        {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*")}
        for root in (first, tmp_path / "again")
    ]
    assert contents[0] == contents[1] and contents[0]


@pytest.mark.parametrize("form", FORMS)
def test_an_export_reports_its_files_and_refuses_existing_ones(store, tmp_path, form):
    out = tmp_path / "out"
    done = succeed(store, "export", form, "--edits", "open", "--out", out)
    clusters = len({row["cluster"] for row in expected_rows(store)})
    assert f"wrote 59 images of {clusters} clusters to {out}" in done.out
    assert "1 excluded image is left out" in done.out
    assert "next: python -c " in done.out
    assert "exists already" in fail(store, "export", form, "--out", out)
    assert "must name a folder" in fail(store, "export", form, "--out", tmp_path / "x.json")


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_the_next_command_of_an_export_runs(store, tmp_path, form):
    out = tmp_path / "it's $HOME"
    lines = succeed(store, "export", form, "--out", out).out.splitlines()
    words = shlex.split(next(line for line in lines if line.startswith("next: ")))[1:]
    assert words[0] == "python"
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("Number of datapoints: 60" if form == "imagefolder" else "cluster") in done.stdout


@pytest.mark.parametrize("form", FORMS)
def test_without_decisions_every_image_is_exported_under_captions(store, tmp_path, form):
    done = succeed(store, "export", form, "--out", tmp_path / "out")
    assert "wrote 60 images" in done.out and "excluded" not in done.out


def make_photos(folder: Path, names: str) -> Path:
    """Small images of different colours in a folder."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        colour = (20 * number, 0, 255 - 20 * number)
        Image.new("RGB", (20, 10 + number), colour).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def photos(tmp_path) -> tuple[Path, Path]:
    """A run of the images of two folders, in two clusters, and the folder."""
    make_photos(tmp_path / "photos" / "a", "abcdef")
    make_photos(tmp_path / "photos" / "b", "uvwxyz")
    store = tmp_path / "artifacts"
    succeed(store, "embed", "--images", tmp_path / "photos", *DIGITS)
    succeed(store, "assign", "--k", "2")
    return store, tmp_path / "photos"


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_source_is_named_and_leaves_nothing(photos, tmp_path, form):
    store, folder = photos
    (folder / "b" / "v.png").unlink()
    line = fail(store, "export", form, "--out", tmp_path / "out")
    assert "was changed since it was embedded (b/v.png is gone): put it back, or run" in line
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_images_that_cannot_be_read_are_left_out_and_named(photos, tmp_path):
    store, folder = photos
    run = Run.open(Store(store))
    lost = folder / "b" / "v.png"
    # It goes while the images of the first folder are written.
    table = ImageTable.of(run, report=lambda rows: lost.unlink(missing_ok=True))
    images = LabelledImages.of(table, run.record.sources)
    export_coco(images, tmp_path / "coco")
    (name,) = images.unreadable
    assert name.endswith("b:b/v.png") and "No such file" in images.unreadable[name]
    assert images.written == 11
    annotations = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert len(annotations["images"]) == len(list((tmp_path / "coco" / "images").iterdir())) == 11


def test_an_unreadable_image_does_not_stop_the_export(photos):
    store, folder = photos
    run = Run.open(Store(store))
    embeddings = run.artifact("embeddings")
    with try_images(embeddings, run.record.sources, np.array([0, 2, 3])) as images:
        assert next(images) == read_row(embeddings, run.record.sources, 0)
        (folder / embeddings.column("key")[2]).unlink()
        second, third = images
    assert isinstance(second, MissingError) and "a/c.png" in str(second)
    assert third == read_row(embeddings, run.record.sources, 3)


def test_nothing_is_written_if_no_image_can_be_read(photos, tmp_path):
    store, _ = photos
    for number in (0, 1):
        Run.open(Store(store)).edits.exclude(cluster=number)
    line = fail(store, "export", "coco", "--edits", "open", "--out", tmp_path / "out")
    assert "every image is excluded" in line
    assert not (tmp_path / "out").exists()


def test_clusters_are_made_where_they_are_missing(tmp_path):
    folder = make_photos(tmp_path / "photos", "abcdef")
    store = tmp_path / "artifacts"
    succeed(store, "embed", "--images", folder, *DIGITS)
    done = succeed(store, "export", "imagefolder", "--out", tmp_path / "out")
    assert "wrote 6 images of " in done.out
    clusters = Run.open(Store(store)).artifact("assignments").column("cluster")
    names = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert names == {f"cluster {number}" for number in clusters}


# Names.


def test_clusters_of_one_name_get_their_numbers_as_make_unique():
    assert make_unique({0: "a", 1: "b"}) == {0: "a", 1: "b"}
    assert make_unique({3: "dog", 7: "dog", 9: "cat"}) == {3: "dog 3", 7: "dog 7", 9: "cat"}
    names = make_unique({3: "dog", 7: "dog", 9: "dog 3"})
    assert len(set(names.values())) == 3
    assert make_unique({1: "Dog", 2: "dog"}) == {1: "Dog", 2: "dog"}
    assert make_unique({1: "Dog", 2: "dog"}, fold_case) == {1: "Dog 1", 2: "dog 2"}


def test_names_of_files_are_plain_and_unique_in_their_folder():
    names = FileNames()
    assert names.name("a/b.JPG", "jpg") == "a_b.jpg"
    assert names.name("a_b", "jpg") == "a_b-2.jpg"
    assert names.name("A_B", "jpg") == "A_B-3.jpg"
    assert names.name("a_b", "jpg", "other") == "a_b.jpg"
    assert names.name("con", "png") == "_con.png"
    assert names.name("../..", "png") == "_.png"
    assert names.name("...", "png") == "image.png"
    long = names.name("x" * 300, "png"), names.name("x" * 301, "png")
    assert len(set(long)) == 2 and max(map(len, long)) < 130


def test_many_equal_names_of_files_get_their_numbers_at_once():
    """Each was counted from 1, which took hours where keys are the row numbers of many tables."""
    names, began = FileNames(), time.monotonic()
    given = {names.name("0", "jpg") for _ in range(20_000)}
    assert len(given) == 20_000 and "0-20000.jpg" in given
    assert time.monotonic() - began < 10


# COCO.


def test_coco_has_a_box_an_image_and_a_category_a_cluster(store, exported):
    try:
        module = importlib.import_module("pycocotools.coco")
    except ModuleNotFoundError:
        reason = "pycocotools is not installed: pip install -c constraints.txt -e '.[test]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = exported("coco")
    coco: Any = module.COCO(str(folder / "annotations.json"))
    expected, names = expected_rows(store), class_names(store)
    categories = {row["id"]: row for row in coco.loadCats(coco.getCatIds())}
    assert {row["cluster"]: row["name"] for row in categories.values()} == {
        number: name for number, name in names.items() if number in {r["cluster"] for r in expected}
    }
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == len(coco.getImgIds()) == 59
    run = Run.open(Store(store))
    for row, annotation in zip(expected, annotations, strict=True):
        (image,) = coco.loadImgs([annotation["image_id"]])
        encoded = (folder / "images" / image["file_name"]).read_bytes()
        assert encoded == read_row(run.artifact("embeddings"), run.record.sources, row["row"])
        with Image.open(io.BytesIO(encoded)) as opened:
            assert opened.size == (image["width"], image["height"])
        assert annotation["bbox"] == [0, 0, image["width"], image["height"]]
        assert annotation["area"] == image["width"] * image["height"]
        assert categories[annotation["category_id"]]["cluster"] == row["cluster"]
        for name in ("key", "shard", "confidence", "tags"):
            assert annotation[name] == row[name]


# Folders of classes.


def test_torchvision_finds_every_image_under_its_class(store, exported):
    from torchvision.datasets import ImageFolder

    folder = exported("imagefolder")
    found = ImageFolder(str(folder))
    expected = Counter(row["cluster"] for row in expected_rows(store))
    given = Run.open(Store(store)).edits.edited().names
    captions = class_names(store)
    names = {
        number: f"test tube _ _rings_ {number}" if number in given else captions[number]
        for number in expected
    }
    assert found.classes == sorted(names.values())
    counts = Counter(found.classes[label] for _, label in found.samples)
    assert counts == {names[number]: count for number, count in expected.items()}
    stems = {Path(path).stem for path, _ in found.samples}
    assert stems == {row["key"] for row in expected_rows(store)}
    assert found[0][0].size == (32, 32)


def test_a_split_has_all_classes_on_both_sides_and_is_stable(store, exported):
    from torchvision.datasets import ImageFolder

    folder = exported("imagefolder", "--split", "0.8")
    train, test = (ImageFolder(str(folder / side)) for side in ("train", "test"))
    assert train.classes == test.classes == ImageFolder(str(exported("imagefolder"))).classes
    keys = [{Path(path).stem for path, _ in side.samples} for side in (train, test)]
    assert not keys[0] & keys[1]
    assert keys[0] | keys[1] == {row["key"] for row in expected_rows(store)}
    assert 0.6 < len(keys[0]) / 59 < 0.95
    # A larger share only adds to what is in train, but for classes that would lack a side.
    more = exported("imagefolder", "--split", "0.9")
    larger = {path.stem for path in (more / "train").rglob("*.png")}
    assert len(keys[0] - larger) <= len(train.classes)


def test_a_split_of_the_images_that_meet_a_condition_has_these(store, tmp_path):
    """It ended in an IndexError, as they were fewer than their row numbers."""
    flags = ("--split", "0.5", "--where", "offset > 7000", "--out", tmp_path / "out")
    succeed(store, "export", "imagefolder", *flags)
    embeddings = Run.open(Store(store)).artifact("embeddings")
    columns = zip(embeddings.column("key"), embeddings.column("offset"), strict=True)
    expected = {key for key, offset in columns if offset > 7000}
    assert 0 < len(expected) < embeddings.rows
    assert {path.stem for path in (tmp_path / "out").rglob("*.png")} == expected


@pytest.mark.parametrize("flags", [(), ("--split", "0.8")])
def test_datasets_reads_folders_whose_classes_are_named_like_splits(exported, tmp_path, flags):
    folder = exported("imagefolder", *flags)
    rows = load_with_datasets(folder, tmp_path)["rows"]
    files = Counter((p.parts[-3], p.parts[-2]) for p in folder.rglob("*.png"))
    found = Counter((row["split"] if flags else folder.name, row["name"]) for row in rows)
    assert found == files


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "nan"])
def test_a_split_must_be_a_share(store, tmp_path, share):
    line = fail(store, "export", "imagefolder", "--split", share, "--out", tmp_path / "out")
    assert "--split must be between 0 and 1" in line


@pytest.mark.parametrize("flags", [(), ("--split", "0.5")])
@pytest.mark.parametrize("name", ["README.md", "readme.md"])  # the same on some disks
def test_a_class_named_like_the_card_has_a_folder_beside_it(photos, tmp_path, name, flags):
    """The command ended with "File exists"."""
    store, _ = photos
    Run.open(Store(store)).edits.name(1, name)
    out = tmp_path / "out"
    succeed(store, "export", "imagefolder", *flags, "--edits", "open", "--out", out)
    assert (out / "README.md").is_file()
    assert {path.parent.name for path in out.rglob("*.png")} == {"cluster 0", f"{name} 1"}
    assert len(list(out.rglob("*.png"))) == 12


def test_a_class_of_one_image_is_in_train_and_counted(photos, tmp_path):
    store, _ = photos
    run = Run.open(Store(store))
    cluster = run.artifact("assignments").column("cluster")
    run.edits.exclude(images=[row for row, number in enumerate(cluster) if number == 1][1:])
    out = tmp_path / "out"
    flags = ("--split", "0.01", "--edits", "open", "--out", out)
    done = succeed(store, "export", "imagefolder", *flags)
    assert "1 class has one image and is in train alone" in done.out
    assert [path.name for path in sorted((out / "test").iterdir())] == ["cluster 0"]
    assert len(list((out / "train").rglob("*.png"))) == 2


# WebDataset.


def test_webdataset_reads_image_class_and_decisions(store, exported):
    folder = exported("webdataset", "--samples-per-shard", "25")
    shards = sorted(folder.glob("*.tar"))
    assert [path.name for path in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    samples = read_webdataset(shards)
    classes, names = json.loads((folder / "classes.json").read_text()), class_names(store)
    run = Run.open(Store(store))
    for row, sample in zip(expected_rows(store), samples, strict=True):
        known = json.loads(sample["json"])
        assert known == {
            "cluster": row["cluster"],
            "name": names[row["cluster"]],
            "confidence": row["confidence"],
            "tags": row["tags"],
            "label": row["given"],
            "caption": row["caption"],
            "key": row["key"],
            "shard": row["shard"],
        }
        assert classes[int(sample["cls"])] == known["name"]
        encoded = read_row(run.artifact("embeddings"), run.record.sources, row["row"])
        assert sample["png"] == encoded
        assert sample["__key__"] == row["key"]
    manifest = pq.read_table(folder / "manifest.parquet").to_pylist()
    assert [row["row"] for row in manifest] == [row["row"] for row in expected_rows(store)]
    with (folder / manifest[30]["new_shard"]).open("rb") as file:
        file.seek(manifest[30]["offset"])
        assert file.read(manifest[30]["size"]) == samples[30]["png"]


def test_shards_of_an_export_can_be_embedded_and_hold_no_user_or_time(photos, tmp_path):
    store, _ = photos
    out = tmp_path / "out"
    succeed(store, "export", "webdataset", "--out", out)
    with tarfile.open(out / "00000.tar") as tar:
        members = tar.getmembers()
        assert {(m.mtime, m.uid, m.uname) for m in members} == {(0, 0, "")}
        assert [member.name for member in members[:3]] == ["a/a.cls", "a/a.json", "a/a.png"]
    done = succeed(tmp_path / "other", "embed", "--shards", out, *DIGITS)
    assert "12" in done.out + done.err
    labels = Run.open(Store(tmp_path / "other")).artifact("embeddings").column("label")
    clusters = Run.open(Store(store)).artifact("assignments").column("cluster")
    assert [int(label) for label in labels] == clusters


# Hugging Face.


def test_datasets_reads_images_classes_and_decisions(store, exported, tmp_path):
    import hashlib

    folder = exported("huggingface", "--samples-per-shard", "25")
    assert len(list((folder / "data").glob("*.parquet"))) == 3
    found = load_with_datasets(folder, tmp_path)
    types = found["types"]
    assert (types["image"], types["label"], types["confidence"]) == ("Image", "ClassLabel", "Value")
    names, run = class_names(store), Run.open(Store(store))
    for row, one in zip(expected_rows(store), found["rows"], strict=True):
        assert one["name"] == names[row["cluster"]]
        assert one["size"] == [32, 32] and one["split"] == "train"
        for name in ("key", "shard", "tags", "caption"):
            assert one[name] == row[name]
        assert one["confidence"] == pytest.approx(row["confidence"])
        encoded = read_row(run.artifact("embeddings"), run.record.sources, row["row"])
        assert found["raw"][row["key"]] == hashlib.sha256(encoded).hexdigest()


def test_the_schema_of_parquet_names_the_features(store, exported):
    file = pq.ParquetFile(exported("huggingface") / "data" / "00000.parquet")
    metadata = file.schema_arrow.metadata
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    names = class_names(store)
    clusters = sorted({row["cluster"] for row in expected_rows(store)})
    assert features["label"]["names"] == [names[number] for number in clusters]
    assert file.metadata.num_rows == 59
    assert "pretty_name" in (exported("huggingface") / "README.md").read_text()


def test_large_images_have_row_groups_of_their_own(store, tmp_path, monkeypatch):
    """A hundred photographs of 25 MB each were more than Arrow holds in a column."""
    monkeypatch.setattr("cpp_pipe.pipeline.exports.huggingface._BYTES_PER_GROUP", 1)
    out = tmp_path / "set"
    succeed(store, "export", "huggingface", "--out", out, "--samples-per-shard", "25")
    sizes = []
    for path in sorted((out / "data").glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            sizes += [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [1] * 60
