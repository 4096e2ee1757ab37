"""Artifacts in formats that other versions of cpp-pipe made."""

import json
import shutil
from pathlib import Path

import pytest

from cpp_pipe.store import Store

from ..store.stores import rewrite
from .cli import fail, succeed
from .curation.world import artifact


@pytest.fixture
def store(tmp_path: Path, copy_of_run) -> Path:
    """A store with a run and a copy of it."""
    folder = copy_of_run(tmp_path / "artifacts")
    runs = Store(folder).runs
    runs.update("other", versions={"embeddings": runs.read("default").versions["embeddings"]})
    return folder


@pytest.mark.parametrize(("number", "maker"), [(99, "a newer"), (0, "an older")])
def test_status_lists_what_another_version_made_and_goes_on(store: Path, number: int, maker: str):
    """It ended with an error, and listed no run of the store."""
    heads, rows = artifact(store, "heads"), artifact(store, "embeddings").rows
    rewrite(heads.folder / "manifest.json", lambda value: value.update(format=number))
    runs = json.loads(succeed(store, "status", "--json").out)
    listed = {row["slot"]: row for row in runs["default"]}
    assert listed["heads"]["state"].startswith(f"made by {maker} version: use that version")
    assert listed["heads"]["rows"] is None
    assert listed["features"]["rows"] == listed["embeddings"]["rows"] == rows
    assert not any(row["state"].startswith("out of date") for row in listed.values())
    out = succeed(store, "status").out
    assert f"made by {maker} version\n" in out and "run other" in out
    assert f"heads are made by {maker} version: use that version" in out


def test_an_artifact_of_a_newer_version_is_never_removed(store: Path):
    """`gc` ended with an error; what no run refers to was removed."""
    heads = artifact(store, "heads")
    rewrite(heads.folder / "manifest.json", lambda value: value.update(format=99))
    assert "0 items" in succeed(store, "gc").out
    shutil.rmtree(store / "runs" / "default")
    succeed(store, "gc", "--yes")
    assert heads.folder.is_dir()
    assert list((store / "captions").iterdir()) == []


def test_a_run_with_an_artifact_of_a_newer_version_is_refused_elsewhere(store: Path):
    heads = artifact(store, "heads")
    rewrite(heads.folder / "manifest.json", lambda value: value.update(format=99))
    assert "use the version that wrote it" in fail(store, "clusters")
