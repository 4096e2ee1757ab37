"""Two folders of one name hold the same SHARD:KEY, and a decision is about the right image."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.mapped_folder import MappedFolder
from cpp_pipe.pipeline.serve.row_fields import RowFields
from cpp_pipe.pipeline.serve.row_names import names_of_rows, rows_of_names
from cpp_pipe.pipeline.view.keys import match_keys, row_of_key
from cpp_pipe.pipeline.view.labels import read_labels
from cpp_pipe.stages.rows.image_names import image_names, repeated_names
from cpp_pipe.store import QueryError, Store

from ...stages.sources.image_files import png
from ..cli import DIGITS, call, fail, succeed

OLD = "photos:a.png"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A store of `2023/photos` and `2024/photos`: both have `a.png`, each one more. Read-only."""
    folder = tmp_path_factory.mktemp("repeated")
    for start, (year, other) in enumerate((("2023", "b.png"), ("2024", "c.png"))):
        photos = folder / year / "photos"
        photos.mkdir(parents=True)
        (photos / "a.png").write_bytes(png(2 * start))
        (photos / other).write_bytes(png(2 * start + 1))
    store = folder / "artifacts"
    flags = [part for year in ("2023", "2024") for part in ("--images", folder / year / "photos")]
    succeed(store, "embed", *flags, *DIGITS)
    succeed(store, "assign", "--k", "2")
    return store


@pytest.fixture
def store(made, tmp_path) -> Path:
    """A copy of it, in which decisions are made."""
    return shutil.copytree(made, tmp_path / "artifacts", symlinks=True)


def pair(store: Path) -> list[int]:
    keys = Run.open(Store(store)).artifact("embeddings").column("key")
    return [row for row, key in enumerate(keys) if key == "a.png"]


@pytest.mark.parametrize("which", [0, 1])
def test_an_excluded_image_stays_excluded_after_sealing(store, which):
    row = pair(store)[which]
    Run.open(Store(store)).edits.exclude(images=[row])
    assert Run.open(Store(store)).edits.edited().excluded.nonzero()[0].tolist() == [row]
    succeed(store, "edit", "seal", "done")
    sealed = Run.open(Store(store)).edits.edited("done")
    assert sealed.excluded.nonzero()[0].tolist() == [row]


def test_only_repeated_names_change_and_every_name_leads_back(made, tmp_path):
    embeddings = Run.open(Store(made)).artifact("embeddings")
    names, rows = image_names(embeddings), pair(made)
    assert sorted(repeated_names(embeddings).names) == rows
    assert repeated_names(embeddings).ambiguous == {OLD}
    assert {"photos:b.png", "photos:c.png"} < set(names) and OLD not in names
    assert [row_of_key(embeddings, name) for name in names] == list(range(4))
    assert match_keys(embeddings, [names[rows[1]]])[0].nonzero()[0].tolist() == [rows[1]]
    fields = RowFields(embeddings, MappedFolder(tmp_path))
    assert names_of_rows(fields, np.arange(4)) == names
    assert rows_of_names(fields, [*names, OLD]) == {name: row for row, name in enumerate(names)}


def test_a_name_of_two_images_is_refused_with_the_names_that_work(store):
    run = Run.open(Store(store))
    names = image_names(run.artifact("embeddings"))
    with pytest.raises(QueryError, match="in several parts: write one of photos-") as error:
        run.edits.exclude(images=[OLD])
    assert all(names[row] in str(error.value) for row in pair(store))
    with pytest.raises(QueryError, match="in several parts"):
        run.edits.exclude(images=[OLD, "photos:b.png"])
    assert match_keys(run.artifact("embeddings"), [OLD])[1] == {OLD}
    run.edits.exclude(images=[names[pair(store)[0]]])
    assert run.edits.edited().excluded.nonzero()[0].tolist() == pair(store)[:1]


def test_a_key_of_two_images_is_refused_beside_others_and_by_the_command(store, tmp_path):
    """Alone, in Python, it was refused; else both images were excluded."""
    run = Run.open(Store(store))
    with pytest.raises(QueryError, match=r"the key 'a\.png' is in several parts: write one of"):
        run.edits.exclude(images=["b.png", "a.png"])
    assert "the key 'a.png' is in several parts" in fail(store, "edit", "exclude", "--key", "a.png")
    (tmp_path / "keys.txt").write_text("a.png\nb.png\n")
    assert "in several parts" in fail(store, "edit", "exclude", "--keys", tmp_path / "keys.txt")
    assert run.edits.decisions() == []


def test_an_earlier_decision_by_a_repeated_name_needs_a_look(store):
    run = Run.open(Store(store))
    edit = run.edits.exclude(images=[pair(store)[0]])
    run.edit_log.append({**edit.to_json(), "id": "0" * 32, "number": 2, "images": [OLD]}, seen=1)
    edited = Run.open(Store(store)).edits.edited()
    assert [outcome.edit.number for outcome in edited.open] == [2]
    assert edited.excluded.nonzero()[0].tolist() == pair(store)[:1]


def test_labels_of_a_key_in_two_folders_name_the_folder_too(store, tmp_path):
    table = tmp_path / "labels.csv"
    embeddings = Run.open(Store(store)).artifact("embeddings")
    table.write_text("key,label\na.png,x\nb.png,y\n")
    assert "2 images have the key 'a.png': write SHARD:KEY" in fail(
        store, "eval", "--labels", table
    )
    names = image_names(embeddings)
    lines = [f"{name},{'xyxz'[row]}" for row, name in enumerate(names)]
    table.write_text("key,label\n" + "\n".join(lines) + "\n")
    assert read_labels(embeddings, "cls", table) == list("xyxz")
    table.write_text("key,label\nb.png,x\nb.png,y\n")
    assert "'b.png' has two labels, x and y" in fail(store, "eval", "--labels", table)


def test_the_command_that_comes_next_finds_the_same_image(store, tmp_path, monkeypatch):
    """It named SHARD:KEY, which is in two parts."""
    monkeypatch.chdir(tmp_path)
    name = image_names(Run.open(Store(store)).artifact("embeddings"))[pair(store)[1]]
    for key in (name, "photos:c.png"):
        out = succeed(store, "search", "--key", key, "-n", "1").out
        line = next(line for line in out.splitlines() if line.startswith("next: "))
        words = shlex.split(line.removeprefix("next: cpp-pipe "))
        assert words[:3] == ["search", "--key", key]
        done = call(None, *words)
        assert done.code == 0, done.err


def test_listed_outliers_and_duplicates_can_be_searched_and_curated(store, tmp_path):
    """They were named by a key, or by SHARD:KEY, that two images have."""
    names = image_names(Run.open(Store(store)).artifact("embeddings"))
    above = ("--above", "0.01")  # one group of all images
    for command in (["outliers"], ["duplicates", *above]):
        table = tmp_path / f"{command[0]}.parquet"
        report = json.loads(succeed(store, *command, "--out", table, "--json").out)
        rows = report.get("outliers") or report["largest_groups"][0]
        assert {f"{row['shard']}:{row['key']}" for row in rows} <= set(names)
        assert f"chosen {len(rows)}" in succeed(store, "curate", "--keys", table, "--dry-run").out
    shortest = sorted(["b.png", "c.png", *(names[row] for row in pair(store))])
    listed = sorted(line.split()[2] for line in succeed(store, "outliers").out.splitlines()[1:5])
    assert listed == shortest
    scored = set(re.findall(r"\S*\.png", succeed(store, "score").out))
    assert scored == set(shortest)
    kept = succeed(store, "duplicates", *above).out.splitlines()[-3].split()[3]
    for name in (*listed, kept):
        succeed(store, "search", "--key", name, "-n", "1")
    groups = Run.open(Store(store)).duplicates(above=0.01)
    assert set(groups.column("shard").to_pylist()) <= {name.partition(":")[0] for name in names}


@pytest.mark.parametrize("suffix", ["txt", "parquet"])
def test_a_sample_of_such_images_can_be_curated(store, tmp_path, suffix):
    """Its table named SHARD:KEY, which is in two parts."""
    keys = tmp_path / f"keys.{suffix}"
    succeed(store, "sample", "-n", "3", "--out", keys)
    assert "chosen 3" in succeed(store, "curate", "--keys", keys, "--dry-run").out
