"""`score` and `--where` as a person types them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from cpp_pipe import Run
from cpp_pipe.stages.rows.score_columns import MEASURED
from cpp_pipe.store import ConfigError, MissingError, Store
from cpp_pipe.store.upkeep import verify

from ...stages.shards import write_shards
from ..cli import body, embed, fail, succeed
from .world import members

SIZE = 32


@pytest.fixture(scope="module")
def made(tmp_path_factory, copy_of_run) -> Path:
    """A store with clusters and three artifacts of scores."""
    folder = tmp_path_factory.mktemp("scores")
    store = copy_of_run(folder / "artifacts")
    save_file({"weight": np.linspace(-1, 1, SIZE)[None]}, folder / "liked.safetensors")
    succeed(store, "score")
    succeed(store, "score", "--name", "zero", "--text", "zero", "--not", "one")
    succeed(store, "score", "--name", "liked", "--head", folder / "liked.safetensors")
    return store


@pytest.fixture
def store(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "artifacts", symlinks=True)


def test_each_row_has_one_value_of_each_score(made):
    run = Run.open(made)
    for slot in ("scores/image", "scores/zero", "scores/liked"):
        assert list(verify(run.artifact(slot))) == []
    for name in (*MEASURED, "zero", "liked"):
        values = run.scores(name)
        assert values.shape == (60,) and values.dtype == np.float32 and np.isfinite(values).all()
    assert set(run.scores("colourfulness")) == {0} and set(run.scores("aspect")) == {1}


def test_a_head_scores_rows_by_the_product_with_its_weight(made):
    run = Run.open(made)
    embeddings = run.artifact("embeddings")
    x = np.concatenate([embeddings.embeddings(part.name) for part in embeddings.parts])
    x = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(run.scores("liked"), x @ np.linspace(-1, 1, SIZE), atol=1e-6)


def test_a_score_by_text_is_higher_for_images_that_show_it(made):
    run = Run.open(made)
    label = np.array(run.artifact("embeddings").column("label"))
    zero = run.scores("zero")
    assert zero[label == "0"].mean() > zero[label == "1"].mean() + 1


def test_score_prints_quantiles_and_ends_and_the_same_as_json(made, monkeypatch):
    printed = succeed(made, "score").out
    lines = body(printed)
    assert lines[0].split() == ["score", "1%", "25%", "50%", "75%", "99%"]
    assert [line.split()[0] for line in lines[1:7]] == list(MEASURED)
    assert "next: cpp-pipe curate --where 'sharpness > " in printed
    report = json.loads(succeed(made, "score", "--json").out)["scores"]
    sharp = Run.open(made).scores("sharpness")
    assert [one["name"] for one in report] == list(MEASURED)
    assert report[0]["quantiles"]["0.5"] == pytest.approx(np.quantile(sharp, 0.5))
    assert report[0]["highest"][0]["row"] == int(sharp.argmax())
    assert report[0]["lowest"][0]["score"] == pytest.approx(float(sharp.min()))
    low = ", ".join(row["key"] for row in report[0]["lowest"])
    assert any(line.startswith(f"sharpness: lowest {low}; highest") for line in lines)
    assert "colourfulness: 0 for every image" in lines
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, body(succeed(made, "score").out))) <= 80


def test_curate_copies_exactly_the_images_that_meet_all_conditions(made, tmp_path):
    run = Run.open(made)
    sharp, keys = run.scores("sharpness"), np.array(run.artifact("embeddings").column("key"))
    parity = [json.loads(text)["parity"] for text in run.artifact("embeddings").column("extra")]
    least = float(np.median(sharp))
    flags = ("--where", f"sharpness > {least}", "--where", "parity = 1")
    done = succeed(made, "curate", *flags, "--out", tmp_path / "out")
    is_sharp = sharp > np.float32(least)
    met = is_sharp & (np.array(parity) == 1)
    blunt, even = int((~is_sharp).sum()), int((is_sharp & ~met).sum())
    assert (
        f"seen 60 = chosen {met.sum()} + {blunt} not meeting sharpness > {least} + {even} not "
        "meeting parity = 1"
    ) in done.out
    copied = {name.split(".")[0] for name in members(*sorted((tmp_path / "out").glob("*.tar")))}
    assert copied == set(keys[met])


def test_every_command_that_filters_takes_the_same_conditions(made, tmp_path):
    run = Run.open(made)
    label = np.array(run.artifact("embeddings").column("label"))
    rows = set(np.flatnonzero((label != "3") & (run.scores("zero") > 0)).tolist())
    flags = ("--where", "label != 3", "--where", "zero > 0")
    found = json.loads(succeed(made, "search", "--text", "seven", "-n", "60", *flags, "--json").out)
    assert {hit["row"] for hit in found} == rows
    assert {hit.row for hit in run.search(text="seven", n=60, where=flags[1::2])} == rows
    listed = json.loads(succeed(made, "clusters", *flags, "--json").out)
    assert sum(cluster["size"] for cluster in listed) == len(rows)
    names = json.loads(succeed(made, "sample", "-n", "60", *flags, "--json").out)["keys"]
    assert len(names) == len(rows)
    succeed(made, "export", "parquet", *flags, "--out", tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert set(table.column("row").to_pylist()) == rows
    np.testing.assert_array_equal(
        table.column("zero").to_numpy(), run.scores("zero")[table.column("row").to_numpy()]
    )
    succeed(made, "export", "csv", *flags, "--out", tmp_path / "x.csv")
    assert csv.read_csv(tmp_path / "x.csv").num_rows == len(rows)
    succeed(made, "export", "folders", *flags, "--out", tmp_path / "folders")
    files = (tmp_path / "folders").rglob("*.png")
    assert {int(path.name.split("-")[0]) for path in files} == rows
    assert "goes with export parquet, csv, folders" in fail(
        made, "export", "fiftyone", *flags, "--out", tmp_path / "f"
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("nothing > 1", "there is no 'nothing', known are key, .*sharpness.*liked, zero, parity"),
        ("sharpness > x", "sharpness is a number, so compare it with one, got 'x'"),
        ("caption < b", "caption is text, which only = and != compare"),
        ("parity < odd", "which only = and != compare"),
        ("extra:sharpness > 1", "there is no 'extra:sharpness'"),
        ("embedding > 1", "there is no 'embedding'"),
        ("sharpness", "must be NAME OPERATOR VALUE"),
        ("sharpness > 1e9", "no row meets all conditions"),
    ],
)
def test_an_invalid_condition_is_refused_in_one_sentence(made, condition, message):
    assert re.search(message, fail(made, "curate", "--dry-run", "--where", condition))


def test_a_width_is_a_column_and_a_row_without_one_does_not_pass(made, tmp_path):
    assert "chosen 60" in succeed(made, "curate", "--dry-run", "--where", "width >= 1").out
    np.savez(tmp_path / "x.npz", x=np.eye(12, SIZE, dtype=np.float32))
    bare = tmp_path / "bare"
    succeed(bare, "import", tmp_path / "x.npz", "--model", "ViT-B-32", "--run", "default")
    for condition in ("width >= 1", "width != 1", "label != x"):
        assert "chosen 0 + 12 not meeting" in fail(
            bare, "curate", "--dry-run", "--where", condition
        )


def test_the_error_for_scores_out_of_date_names_the_command(store, digit_shards, tmp_path):
    more = tmp_path / "more"
    write_shards(more, shards=1, first=300)
    embed(store, digit_shards, more)
    assert "the measurements of images are out of date: run `cpp-pipe score" in fail(
        store, "curate", "--dry-run", "--where", "sharpness > 0"
    )
    why = fail(store, "curate", "--dry-run", "--where", "zero > 0")
    assert "run `cpp-pipe score --name zero --text zero --not one" in why
    with pytest.raises(MissingError, match=r"score --name liked --head liked\.safetensors"):
        Run.open(store).scores("liked")
    done = succeed(store, "score")
    assert "3 of 4 parts are there already" in done.err
    assert "chosen 80" in succeed(store, "curate", "--dry-run", "--where", "sharpness >= 0").out


def test_the_error_for_a_missing_score_names_the_command(tmp_path, digit_shards):
    embed(tmp_path, digit_shards)
    assert "sharpness is not measured yet: run `cpp-pipe score" in fail(
        tmp_path, "curate", "--dry-run", "--where", "sharpness > 0"
    )
    with pytest.raises(ConfigError, match="the run has no score 'zero'; it has sharpness, "):
        Run.open(tmp_path).scores("zero")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--text", "a"), "give --name"),
        (("--name", "a"), "--name goes with --text or --head"),
        (("--not", "a"), "--not goes with --text or --head"),
        (("--name", "A", "--text", "a"), "must begin with a small letter"),
        (("--name", "a/b", "--text", "a"), "must begin with a small letter"),
        (("--name", "a" * 61, "--text", "a"), "at most 60 characters"),
        (("--name", "width", "--text", "a"), "which means something else"),
        (("--name", "image", "--text", "a"), "which means something else"),
        (("--name", "x", "--text", " "), "--text must be a text"),
        (("--name", "x", "--text", "a", "--not", "a"), "must be another text"),
        (("--name", "x", "--text", "a", "--head", "x"), "not both"),
        (("--name", "x", "--head", "x.safetensors"), "is not a file"),
        (("--name", "x", "--head", "x.pt"), "can run code"),
        (("--name", "x", "--head", "x.safetensors", "--not", "a"), "--not goes with --text"),
    ],
)
def test_invalid_flags_are_refused_before_any_work(made, flags, message):
    before = Store(made).runs.read("default")
    assert message in fail(made, "score", *flags)
    assert Store(made).runs.read("default") == before


def test_a_head_for_another_model_is_refused_before_any_work(made, tmp_path):
    save_file({"weight": np.zeros(512, np.float32)}, tmp_path / "x.safetensors")
    before = Store(made).runs.read("default")
    flags = ("--name", "x", "--head", tmp_path / "x.safetensors")
    assert "it is for another model" in fail(made, "score", *flags)
    assert Store(made).runs.read("default") == before
