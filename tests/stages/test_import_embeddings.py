"""Embeddings made elsewhere: imported row by row, with skipped rows reported."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.view.evaluation import evaluate
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.import_embeddings import Import
from cpp_pipe.stages.sources.embeddings.files import find_embeddings
from cpp_pipe.store import Scratch, ShardError
from cpp_pipe.store.kinds import EMBEDDINGS

from ..pipeline.cli import fail, succeed

MODEL = ("--model", "ViT-B-32", "--pretrained", "openai")


def write_npz(path, rows=40, size=8, seed=0):
    """Rows around four directions, with keys and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 4
    x = np.eye(4, size)[y] * 5 + rng.normal(size=(rows, size))
    np.savez(path, x=x.astype(np.float32), key=[f"{seed}-{i:03d}" for i in range(rows)], y=y)
    return path


def test_rows_come_in_order_as_unit_rows_with_their_labels(tmp_path):
    write_npz(tmp_path / "a.npz")
    succeed(tmp_path / "s", "import", tmp_path / "a.npz", *MODEL)
    embeddings = Run.open(tmp_path / "s").artifact("embeddings")
    assert embeddings.column("key")[:2] == ["0-000", "0-001"]
    assert embeddings.column("label")[:5] == ["0", "1", "2", "3", "0"]
    given = np.load(tmp_path / "a.npz")["x"]
    taken = embeddings.embeddings(embeddings.parts[0].name).astype(np.float32)
    unit = given / np.linalg.norm(given, axis=1, keepdims=True)
    assert np.abs(taken - unit).max() < 1e-3
    assert embeddings.facts["model"]["model"] == "ViT-B-32"


def test_a_file_of_many_numbers_is_written_in_pieces_that_arrow_reads(tmp_path, monkeypatch):
    """Of 2^31 numbers in one file, 2.8 million rows of ViT-L-14, the import could not be read."""
    monkeypatch.setattr("cpp_pipe.store.draft._GROUP_NUMBERS", 80)
    write_npz(tmp_path / "a.npz")
    succeed(tmp_path / "s", "import", tmp_path / "a.npz", *MODEL)
    run = Run.open(tmp_path / "s")
    embeddings = run.artifact("embeddings")
    with pq.ParquetFile(embeddings.path(embeddings.only_part, "rows")) as file:
        assert file.metadata.num_row_groups == 4
    assert embeddings.column("key") == [f"0-{i:03d}" for i in range(40)]
    assert np.array_equal(embeddings.embeddings(embeddings.only_part), run.to_numpy())


def test_rows_without_a_direction_are_skipped_with_a_reason(tmp_path):
    x = np.ones((30, 4), np.float32)
    x[3], x[7, 1] = 0, np.nan
    np.save(tmp_path / "x.npy", x)
    done = succeed(tmp_path / "s", "import", tmp_path / "x.npy", *MODEL)
    assert "seen 30 = embedded 28 + skipped 2" in done.out
    assert "zero_norm 1" in done.out and "not_finite 1" in done.out


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path):
    """Its part would hold other rows than its name says."""
    (source,) = find_embeddings(write_npz(tmp_path / "a.npz"))
    stage = Import(model="ViT-B-32", pretrained="openai")
    runtime = Runtime(sources={source.part_name: source})
    (part,) = stage.parts({}, runtime)
    write_npz(tmp_path / "a.npz", seed=1)
    scratch = Scratch(tmp_path, part.name, EMBEDDINGS, tmp_path)
    with pytest.raises(ShardError, match="was changed while it was embedded"):
        stage.make(part, None, {}, runtime, scratch)


def test_a_second_file_costs_only_itself(tmp_path):
    store = tmp_path / "s"
    first, second = write_npz(tmp_path / "a.npz"), write_npz(tmp_path / "b.npz", seed=1)
    succeed(store, "import", first, *MODEL)
    assert "nothing to do" in succeed(store, "import", first, *MODEL).err
    done = succeed(store, "import", first, second, *MODEL)
    assert "1 of 2 parts are there already" in done.err
    assert "seen 80" in done.out


def test_imported_rows_have_no_images_for_a_sheet(tmp_path):
    store = tmp_path / "s"
    succeed(store, "import", write_npz(tmp_path / "a.npz"), *MODEL)
    succeed(store, "train", "--epochs", "1", "--set", "train.hidden=16", "--features", "4")
    line = fail(store, "search", "--key", "0-001", "--sheet", tmp_path / "sheet.png")
    assert "its embedding was imported" in line


def test_planted_groups_are_found_and_scored_over_all_rows(tmp_path):
    store = tmp_path / "s"
    succeed(store, "import", write_npz(tmp_path / "a.npz", rows=200), *MODEL)
    succeed(store, "train", "--epochs", "2", "--set", "train.hidden=16", "--features", "8")
    succeed(store, "assign", "--k", "4")
    run = Run.open(store)
    found = evaluate(run.artifact("embeddings"), run.artifact("assignments"), "cls", None)
    assert found.n == 200 and found.classes == 4
    assert found.clusters.acc > 0.95
    assert found.chance.acc < 0.45


def test_the_wrong_kind_of_input_names_the_right_command(tmp_path, digit_shards):
    assert "cpp-pipe embed --shards" in fail(tmp_path / "s", "import", digit_shards, *MODEL)


@pytest.mark.parametrize("name", ["caltech101", "oxford_pets", "ucf101"])
def test_real_clip_embeddings_are_imported_completely(tmp_path, shared, name):
    path = shared / "data" / "clip_vitb32" / f"{name}.npz"
    succeed(tmp_path / "s", "import", path, *MODEL)
    embeddings = Run.open(tmp_path / "s").artifact("embeddings")
    with np.load(path) as given:
        assert embeddings.column("key") == given["key"].tolist()
        assert embeddings.column("label") == [str(one) for one in given["y"]]
        taken = embeddings.embeddings(embeddings.parts[0].name)
        assert np.abs(taken.astype(np.float32) - given["x"]).max() < 1e-3
