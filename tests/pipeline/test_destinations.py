"""One rule for every --out, checked before any work, and no leftovers."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from cpp_pipe.pipeline.curation.files import whole_file, whole_folder
from cpp_pipe.pipeline.destinations import new_folder, require_file, require_folder
from cpp_pipe.store import ConfigError
from cpp_pipe.store.files import host_tag, temporary_sibling
from cpp_pipe.store.leftovers import remove_leftovers

from ..stages.shards import write_shards
from ..stages.sources.image_files import png, write_folder, write_image
from ..store.stores import rewrite
from .cli import DIGITS, call, embed, fail, succeed


@pytest.fixture(scope="module")
def store(tmp_path_factory, copy_of_run) -> Path:
    return copy_of_run(tmp_path_factory.mktemp("destinations") / "artifacts")


# What is read is not replaced.


def test_no_image_that_is_read_is_replaced_by_a_sheet(tmp_path):
    photos, store = write_folder(tmp_path / "photos", 4), tmp_path / "artifacts"
    succeed(store, "embed", "--images", photos, *DIGITS)
    first, other = sorted(photos.rglob("*.png"))[:2]
    query = write_image(tmp_path / "query.png", 9)
    before = {path: path.read_bytes() for path in (first, other, query)}
    for sheet in before:
        line = fail(store, "search", "--query", query, "--sheet", sheet)
        assert f"--sheet {sheet} would replace a file that is read: name another one" in line
    assert "would replace" in fail(store, "outliers", "--sheet", first)
    assert {path: path.read_bytes() for path in before} == before
    for _ in range(2):  # a sheet of before is replaced
        succeed(store, "search", "--query", query, "-n", "1", "--sheet", tmp_path / "hits.png")


def test_no_table_and_no_list_that_is_read_is_replaced(tmp_path):
    table, store = tmp_path / "images.parquet", tmp_path / "artifacts"
    pq.write_table(pa.table({"image": pa.array([png(n) for n in range(6)], pa.binary())}), table)
    succeed(store, "embed", "--table", table, *DIGITS)
    succeed(store, "assign", "--k", "2")
    before = table.read_bytes()
    assert "would replace" in fail(store, "export", "parquet", "--out", table)
    assert "would replace" in fail(store, "duplicates", "--out", table)
    assert table.read_bytes() == before
    keys = tmp_path / "keys.txt"
    for words in ([], ["--beside", keys]):
        done = call(store, "sample", "-n", "2", "--out", keys, *words)
        assert ("would replace" in done.err) == bool(words)
    labels = tmp_path / "labels.csv"
    labels.write_text("key,label\n0,x\n")
    line = fail(store, "compare", "default", "--labels", labels, "--out", labels)
    assert "would replace" in line and labels.read_text() == "key,label\n0,x\n"


# The suffix decides, or is refused.


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("duplicates", "--above", "0.8"), ("x.txt", "x", "x.html", "x.PNG", "x.parquet.bak")),
        (("outliers",), ("x.txt", "x", "x.json", "x.npy")),
        (("report",), ("x.txt", "x", "x.pdf", "x.parquet")),
        (("export", "parquet"), ("x.csv", "x", "x.html")),
        (("export", "embedding-atlas"), ("x.csv", "x", "x.html")),
    ],
)
def test_a_suffix_of_another_format_is_refused_before_any_work(tmp_path, command, names):
    for name in names:
        line = fail(tmp_path / "store", *command, "--out", tmp_path / name)
        assert "--out must end in ." in line and str(tmp_path / name) in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("duplicates",), ("outliers",), ("search", "--key", "x")])
def test_a_sheet_must_be_an_image(tmp_path, command):
    for name in ("x.txt", "x", "x.parquet"):
        line = fail(tmp_path / "store", *command, "--sheet", tmp_path / name)
        assert "--sheet must end in .png, " in line


@pytest.mark.parametrize("form", ["clip-retrieval", "lancedb", "fiftyone", "coco", "webdataset"])
def test_a_folder_must_not_have_the_suffix_of_a_file(tmp_path, form):
    for name in ("x.parquet", "x.tar", "x.json"):
        line = fail(tmp_path / "store", "export", form, "--out", tmp_path / name)
        assert "--out must name a folder" in line
    line = fail(tmp_path / "store", "curate", "--out", tmp_path / "x.tar")
    assert "--out must name a folder" in line
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    line = fail(tmp_path / "store", "export", form, "--out", tmp_path / "full")
    assert "exists already: name a new one" in line


@pytest.mark.parametrize("name", [".", "../here", "new/.."])
def test_the_working_directory_is_refused_as_a_folder(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    line = fail(tmp_path / "store", "export", "coco", "--out", name)
    assert f"--out {name} is the working directory: name a new folder in it" in line
    with pytest.raises(ConfigError, match=r"^OUT .* is the working directory"):
        require_folder(Path(name), flag="OUT")


def test_a_folder_may_be_named_by_a_path_with_dots(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    with whole_folder(Path("inner/../out/deeper/..")) as folder:
        (folder / "file").write_text("whole")
    assert (tmp_path / "out" / "file").read_text() == "whole"


def test_a_folder_may_have_a_dot_in_its_name(tmp_path):
    for name in ("images.lancedb", "v1.2", ".hidden", "2024.01.31"):
        require_folder(tmp_path / name)


def test_a_device_is_refused_as_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.html")
    with pytest.raises(ConfigError, match="is a device or a pipe"):
        require_file(tmp_path / "pipe.html", (".html",))


@pytest.mark.parametrize("command", [("duplicates", "--above", "0.5"), ("outliers",)])
def test_a_table_is_the_same_in_every_format(store, tmp_path, command):
    for suffix in (".parquet", ".pq", ".csv", ".jsonl"):
        succeed(store, *command, "--out", tmp_path / f"x{suffix}")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.num_rows > 1
    assert pq.read_table(tmp_path / "x.pq").equals(table)
    assert csv.read_csv(tmp_path / "x.csv").column("key").to_pylist() == table["key"].to_pylist()
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == table.to_pylist()


def test_a_sheet_is_of_the_format_of_its_suffix(store, tmp_path):
    from PIL import Image

    for suffix, form in ((".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP")):
        succeed(store, "outliers", "-n", "2", "--sheet", tmp_path / f"x{suffix}")
        with Image.open(tmp_path / f"x{suffix}") as sheet:
            assert sheet.format == form


# What is suggested.


def test_a_suggested_folder_does_not_exist_yet(tmp_path, monkeypatch, store):
    monkeypatch.chdir(tmp_path)
    assert new_folder("shards") == "shards/"
    steps = []
    for _ in range(3):
        out = succeed(store, "clusters").out
        steps.append(next(line for line in out.splitlines() if line.startswith("next: ")))
        folder = steps[-1].partition("--out ")[2].split()[0]
        succeed(store, "curate", "--out", folder)
    assert len(set(steps)) == 3 and "--out shards-3/" in steps[-1]


def test_a_search_does_not_suggest_itself_as_the_next_command(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = json.loads(succeed(store, "search", "--text", "seven", "--json").out)[0]["key"]
    out = succeed(store, "search", "--key", key, "--sheet", "hits.png").out
    assert "next: cpp-pipe curate --cluster" in out


# Leftovers.


def kill_while_writing(path: Path, kind: str) -> list[Path]:
    """Kills a process that writes a file or a folder; returns its leftovers."""
    code = f"""
import sys, time
from pathlib import Path
from cpp_pipe.pipeline.curation.files import whole_file, whole_folder
with whole_{kind}(Path({str(path)!r})) as temporary:
    (temporary if {kind!r} == "file" else temporary / "inside").write_text("half")
    print("written", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "written\n"
    left = list(path.parent.glob(".tmp-*"))
    assert len(left) == 1
    # While it lives nobody else touches what it writes.
    remove_leftovers(path)
    assert left[0].exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return left


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("name", ["out", "\u864e" * 80], ids=["short", "long"])
def test_the_next_run_removes_leftovers_of_a_killed_one(tmp_path, kind, name):
    """A name of 80 Chinese characters has 240 bytes: its temporary one was too long for a disk."""
    path = tmp_path / name
    (left,) = kill_while_writing(path, kind)
    other = temporary_sibling(tmp_path / "another")
    other.write_text("of another destination")
    with {"file": whole_file, "folder": whole_folder}[kind](path) as temporary:
        assert not left.exists()
        (temporary if kind == "file" else temporary / "inside").write_text("whole")
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([name, other.name])


def test_every_command_that_writes_removes_leftovers(store, tmp_path, digit_shards):
    images = tmp_path / "images"
    images.mkdir()
    (images / "0.png").write_bytes(png(0))
    calls = {
        "groups.csv": ("duplicates", "--above", "0.8", "--out"),
        "far.parquet": ("outliers", "--out"),
        "far.png": ("outliers", "--sheet"),
        "page.html": ("report", "--out"),
        "copied": ("curate", "--out"),
        "rows.parquet": ("export", "parquet", "--out"),
        "clip": ("export", "clip-retrieval", "--out"),
    }
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name, words in calls.items():
        left = tmp_path / f".tmp-{name}-{host_tag()}-{dead.pid}-0123abcd"
        left.write_text("half")
        succeed(store, *words, tmp_path / name)
        assert not left.exists() and (tmp_path / name).exists(), name
    left = tmp_path / f".tmp-packed-{host_tag()}-{dead.pid}-0123abcd"
    left.mkdir()
    from .cli import call

    assert call(None, "pack", images, tmp_path / "packed").code == 0
    assert not left.exists()


def test_leftovers_of_another_machine_are_kept_for_a_day(tmp_path):
    young, old = (tmp_path / f".tmp-out-0000000{n}-1-0123abcd" for n in (1, 2))
    for path in (young, old):
        path.write_text("half")
    os.utime(old, (1, 1))
    (tmp_path / ".tmp-out-mine").write_text("of somebody else")
    remove_leftovers(tmp_path / "out")
    assert young.exists() and not old.exists() and (tmp_path / ".tmp-out-mine").exists()


def test_a_leftover_link_is_removed_but_not_its_target(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    link = tmp_path / f".tmp-out-{host_tag()}-{dead.pid}-0123abcd"
    link.symlink_to(tmp_path / "precious")
    remove_leftovers(tmp_path / "out")
    assert not link.is_symlink() and (tmp_path / "precious" / "file").exists()


# What lies in a store and is not of it.


def test_odd_files_in_a_store_do_not_disturb_commands(tmp_path, digit_shards):
    store = tmp_path / "store"
    embed(store, digit_shards / "000.tar")
    before = succeed(store, "status", "--json").out
    version = json.loads(before)["default"][0]["version"]
    for odd in ("runs", "embeddings", ".", f"embeddings/{version}", f"embeddings/{version}/parts"):
        (store / odd / ".DS_Store").write_bytes(b"\x00")
        (store / odd / "Thumbs.db").write_bytes(b"\x00")
        (store / odd / "my notes").mkdir()
        (store / odd / "my notes" / "run.json").write_text("{}")
        (store / odd / "my notes" / "manifest.json").write_text("{}")
        (store / odd / "é\n").mkdir()
    shutil.copytree(store / "embeddings" / version, store / "embeddings" / f"{version} (copy)")
    (store / "heads").write_text("a file where a folder should be")
    assert succeed(store, "status", "--json").out == before
    assert succeed(store, "verify").out.startswith("1 artifact is intact")
    assert succeed(store, "gc", "--yes").out.startswith("0 items removed")
    assert (store / "runs" / "my notes" / "run.json").exists()
    assert (store / "embeddings" / f"{version} (copy)" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("train", "epochs", "many"),
        ("train", "epoch", 3),
        ("trian", "epochs", 3),
        ("train", None, [1, 2]),
        ("views", "guide_share", 7),
        ("index", "target_recall", "high"),
        ("index", "target_recall", 7),
    ],
)
def test_a_bad_setting_in_a_record_names_its_file(tmp_path, table, key, value):
    write_shards(tmp_path / "shards", shards=1, size=6)
    store = tmp_path / "store"
    embed(store, tmp_path / "shards")
    path = store / "runs" / "default" / "run.json"
    changed = value if key is None else {key: value}
    rewrite(path, lambda record: record["settings"].update({table: changed}))
    for words in (("train",), ("search", "--key", "x"), ("clusters",)):
        line = fail(store, *words)
        assert line.startswith(f"cpp-pipe: {path}"), line


@pytest.mark.parametrize("prefix", ["/tmp/x", "../x", "a/b", "..", "a\0b"])
def test_a_prefix_never_leads_out_of_the_folder(tmp_path, prefix):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png(0))
    words = ("pack", tmp_path / "photos", tmp_path / "out", "--prefix", prefix)
    done = call(None, *words)
    assert done.code == 2
    assert "--prefix" in done.err or "neither text nor" in done.err
    assert not (tmp_path / "out").exists()
