"""Heads on several views of each image, through the commands."""

import json
import shutil
from pathlib import Path

import pytest

from cpp_pipe import Run, Store
from cpp_pipe.stages.sources.digits import digit_halves, digit_image

from ..stages.shards import write_shards
from .cli import call, embed, fail, succeed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the same digits embedded in two runs, and heads of both with a guide."""
    folder = tmp_path_factory.mktemp("views")
    write_shards(folder / "shards", shards=2, size=40)
    (folder / "guide.txt").write_text("zero\none\ntwo\nthree\n")
    digit_image(int(digit_halves()[1][5])).save(folder / "img.png")
    store = folder / "store"
    embed(store, folder / "shards")
    embed(store, folder / "shards", more=["--run", "second"])
    succeed(store, "train", "--beside", "second", "--guide", folder / "guide.txt")
    succeed(store, "assign", "--k", "5")
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be changed."""
    return shutil.copytree(made / "store", tmp_path / "store")


def best(store: Path, *words: str | Path) -> dict:
    return json.loads(succeed(store, "search", *words, "-n", "1", "--json").out)[0]


def test_a_query_image_is_embedded_for_all_views(made):
    hit = best(made / "store", "--query", made / "img.png")
    assert hit["key"] == f"digit_{int(digit_halves()[1][5]):04d}"
    assert hit["similarity"] == pytest.approx(1, abs=1e-3)


def test_views_hold_all_rows_and_record_both_runs(made):
    run = Run.open(Store(made / "store"))
    views = run.artifact("views")
    assert set(views.manifest.inputs) == {"embeddings", "embeddings/second", "words/guide"}
    assert [view["share"] for view in views.facts["views"]] == pytest.approx([0.35, 0.35, 0.3])
    assert run.artifact("features").facts["feature_size"] == 3 * 128
    assert call(made / "store", "verify").code == 0
    assert call(made / "store", "gc").code == 0


def test_features_are_refused_until_both_runs_hold_the_same_images(store, made, tmp_path):
    write_shards(tmp_path / "more", shards=3, size=40)
    embed(store, tmp_path / "more")
    assert Run.open(Store(store)).current("features") is None
    assert "embed them with --run second" in fail(store, "search", "--query", made / "img.png")
    embed(store, tmp_path / "more", more=["--run", "second"])
    assert best(store, "--query", made / "img.png")["similarity"] == pytest.approx(1, abs=1e-3)


def test_an_empty_name_removes_views(store):
    succeed(store, "train", "--guide", "", "--beside", "")
    succeed(store, "project")
    assert set(Run.open(Store(store)).artifact("features").manifest.inputs) == {
        "embeddings",
        "heads",
    }


@pytest.mark.parametrize("name", ["default", "nowhere"])
def test_the_other_run_must_exist(store, name):
    message = fail(store, "train", "--beside", name)
    assert "--beside must name another run" in message and f"got {name!r}" in message
    assert "second" in message


def test_the_other_run_must_hold_embeddings(store):
    Store(store).runs.update("empty", settings={})
    assert "cpp-pipe embed --run empty" in fail(store, "train", "--beside", "empty")


def test_a_missing_guide_is_named_before_any_work(store):
    assert "--guide" in fail(store, "train", "--guide", "nowhere.txt")


def test_a_guide_of_one_word_is_refused(store, tmp_path):
    (tmp_path / "one.txt").write_text("digit\n")
    assert "at least 2 different words" in fail(store, "train", "--guide", tmp_path / "one.txt")


@pytest.mark.parametrize("share", ["0", "1", "nan"])
def test_a_share_is_above_0_and_below_1(store, share):
    assert "guide_share" in fail(store, "train", "--guide-share", share)
