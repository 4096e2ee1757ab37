"""Odd input of files and shells: byte order marks, ~, long texts, gaps, numbers of NumPy."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpp_pipe import Run, Store, compare
from cpp_pipe.pipeline.view.labels import read_labels
from cpp_pipe.pipeline.view.query import unlike_example
from cpp_pipe.store import ConfigError, QueryError

from .cli import DIGITS, SMALL, embed, fail, succeed

BOM = "\ufeff"


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards) -> Path:
    """Sixty digits in three clusters."""
    folder = tmp_path_factory.mktemp("odd") / "artifacts"
    embed(folder, digit_shards)
    succeed(folder, "train", *SMALL)
    succeed(folder, "assign", "--k", "3")
    return folder


def test_a_byte_order_mark_belongs_to_no_key_pattern_phrase_or_label(store, tmp_path, digit_shards):
    key = Run.open(store).artifact("embeddings").column("key")[0]
    keys, labels = tmp_path / "keys.txt", tmp_path / "labels.csv"
    keys.write_text(f"{BOM}{key}\n", encoding="utf-8")
    out = succeed(store, "curate", "--keys", keys, "--out", tmp_path / "out").out
    assert "chosen 1" in out
    labels.write_text(f"{BOM}key,label\n{key},seven\n", encoding="utf-8")
    assert read_labels(Run.open(store).artifact("embeddings"), "cls", labels)[0] == "seven"
    listed, words = tmp_path / "list.txt", tmp_path / "words.txt"
    listed.write_text(f"{BOM}{digit_shards}/*.tar\n", encoding="utf-8")
    assert "embedded 60" in succeed(tmp_path / "new", "embed", f"@{listed}", *DIGITS).out
    words.write_text(f"{BOM}zero\none\n", encoding="utf-8")
    succeed(store, "caption", "--vocabulary", words)
    captions = Run.open(store).artifact("captions")
    assert BOM not in "".join(captions.column("caption"))


@pytest.mark.parametrize("gap", ["", "  ", None, float("nan")])
def test_a_gap_in_a_label_table_is_no_class(store, tmp_path, gap):
    embeddings = Run.open(store).artifact("embeddings")
    keys = embeddings.column("key")
    table = tmp_path / "labels.parquet"
    values = [gap, *range(59)] if isinstance(gap, float) else [gap, *map(str, range(59))]
    pq.write_table(pa.table({"key": keys, "label": pa.array(values)}), table)
    assert read_labels(embeddings, "cls", table)[0] is None
    if not isinstance(gap, float):
        table = tmp_path / "labels.csv"
        lines = [f"{key},{value or ''}" for key, value in zip(keys, values, strict=True)]
        table.write_text("\n".join(["key,label", *lines]))
        assert read_labels(embeddings, "cls", table)[:2] == [None, "0"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_gap_among_the_keys_of_a_label_table_names_no_image(store, tmp_path, suffix):
    """Two gaps with different labels were one image called None, or '', with two labels."""
    embeddings = Run.open(store).artifact("embeddings")
    keys = [None, embeddings.column("key")[0], None]
    table = pa.table({"key": keys, "label": ["cat", "dog", "owl"]})
    path = tmp_path / f"labels.{suffix}"
    (pa.csv.write_csv if suffix == "csv" else pq.write_table)(table, path)
    assert [label for label in read_labels(embeddings, "cls", path) if label] == ["dog"]


def test_a_quoted_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store("~/artifacts").root == tmp_path / "artifacts"
    with pytest.raises(ConfigError, match="no such user"):
        Store("~nobody-of-that-name/artifacts")


def test_a_tilde_is_the_home_folder_in_every_path_of_python(tmp_path, monkeypatch):
    """Tables and figures were written into a folder called ~, and files were not found."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    x = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    np.save(home / "x.npy", x)
    (home / "keys.txt").write_text("".join(f"k{n}\n" for n in range(40)))
    (home / "labels.csv").write_text("key,label\n" + "".join(f"k{n},{n % 2}\n" for n in range(40)))
    run = Run.create("~/artifacts", progress="none")
    run.import_embeddings("~/x.npy", model="ViT-B-32", keys="~/keys.txt").assign(k=2)
    assert run.evaluate(labels="~/labels.csv").classes == 2
    compare("default", store="~/artifacts", labels="~/labels.csv").save("~/table.csv")
    run.sweep(k=[2, 3], labels="~/labels.csv").save("~/sweep.md")
    run.figure("cosines").save("~/cosines.png")
    for name in ("table.csv", "sweep.md", "cosines.png"):
        assert (home / name).is_file()
    assert list((tmp_path / "work").iterdir()) == []
    Image.new("RGB", (8, 8)).save(home / "query.png")
    assert unlike_example("~/query.png").kind == "image"
    (home / "query.png").rename(home / "query")
    assert unlike_example("~/query").kind == "image"


@pytest.mark.parametrize("text", ["word " * 200, "{" + ",".join(map(str, range(300))) + "}", "\0"])
def test_a_text_may_be_longer_than_a_file_name(text):
    assert unlike_example(text).kind == "text"


@pytest.mark.parametrize("n", [np.int64(3), np.uint8(3), 3])
def test_search_takes_numbers_of_numpy(store, n):
    run = Run.open(store)
    key = run.artifact("embeddings").column("key")[0]
    clusters: Any = [np.int32(0), 1, 2]
    assert len(run.search(key=key, n=n, cluster=clusters)) == 3


@pytest.mark.parametrize(
    "query",
    [
        {"key": 5},
        {"text": 5},
        {"text": " "},
        {"image": io.BytesIO(b"x")},
        {"image": np.zeros((4, 4, 3), np.uint8)},
        {"key": "digit_0000", "n": 2.5},
        {"key": "digit_0000", "n": "many"},
    ],
)
def test_a_query_of_the_wrong_type_is_one_error(store, query):
    with pytest.raises((QueryError, ConfigError)):
        Run.open(store).search(**query)


def test_an_unknown_slot_names_the_known_ones(store):
    with pytest.raises(ConfigError, match="no slot 'assignment': the kinds are embeddings"):
        Run.open(store).artifact("assignment")


def test_an_empty_token_is_refused(store):
    assert "--token must not be empty" in fail(store, "serve", "--token", "", "--no-make")


def test_select_k_works_on_equal_rows(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.ones((40, 16), np.float32))
    succeed(tmp_path / "store", "import", tmp_path / "rows.npz", "--model", "ViT-B-32")
    ran = succeed(tmp_path / "store", "select-k")
    assert "0.0% shorter" in ran.out


def test_the_suffix_of_an_export_must_be_its_format(store, tmp_path):
    line = fail(store, "export", "parquet", "--out", tmp_path / "rows.csv")
    assert "--out must end in .parquet" in line
    assert not any(tmp_path.iterdir())


def test_an_export_keeps_links_and_refuses_devices(store, tmp_path):
    os.mkfifo(tmp_path / "pipe.parquet")
    assert "a device or a pipe" in fail(
        store, "export", "parquet", "--out", tmp_path / "pipe.parquet"
    )
    link, target = tmp_path / "link.parquet", tmp_path / "real.parquet"
    link.symlink_to(target)
    succeed(store, "export", "parquet", "--out", link)
    assert link.is_symlink() and pq.read_table(target).num_rows == 60


def test_sigterm_stops_like_ctrl_c(tmp_path, digit_shards):
    words = [sys.executable, "-m", "cpp_pipe", "embed", str(digit_shards), *DIGITS]
    with subprocess.Popen(
        [*words, "--store", str(tmp_path / "store")], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "making embeddings" not in process.stderr.readline():
            pass
        process.terminate()
        assert "the same command continues" in process.stderr.read()
    assert process.returncode == 130
