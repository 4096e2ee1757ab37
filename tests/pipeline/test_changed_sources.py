"""A change in the middle of a source is noticed; a touched source costs nothing."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.view.images import read_row
from cpp_pipe.store import Store

from .cli import DIGITS, call, fail, succeed

SIDE = 300
"""Its square of pixels is more than the edges that an identity reads."""


def write_bmp(path: Path, seed: int) -> Path:
    """Noise as a BMP, whose bytes lie where its pixels are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def change_middle(path: Path) -> None:
    """Blackens some bytes in the middle of a file, which leaves its size and its edges."""
    content = bytearray(path.read_bytes())
    first, last = int(0.4 * len(content)), int(0.6 * len(content))
    content[first:last] = bytes(last - first)
    path.write_bytes(content)


def in_a_folder(root: Path) -> tuple[list[str], Path]:
    for n in range(3):
        write_bmp(root / "photos" / f"{n}.bmp", n)
    return ["--images", str(root / "photos")], root / "photos" / "1.bmp"


def in_a_tar(root: Path) -> tuple[list[str], Path]:
    in_a_folder(root)
    assert call(None, "pack", root / "photos", root / "shards").code == 0
    return ["--shards", str(root / "shards")], root / "shards" / "00000.tar"


def in_a_table(root: Path) -> tuple[list[str], Path]:
    cells = [write_bmp(root / f"{n}.bmp", n).read_bytes() for n in range(3)]
    table = root / "a.parquet"
    pq.write_table(pa.table({"image": cells}), table, compression="none", use_dictionary=False)
    return ["--table", str(table)], table


def as_paths_in_a_table(root: Path) -> tuple[list[str], Path]:
    paths = [str(write_bmp(root / f"{n}.bmp", n)) for n in range(3)]
    pq.write_table(pa.table({"path": paths}), root / "a.parquet")
    return ["--table", str(root / "a.parquet")], root / "1.bmp"


KINDS: dict[str, Callable[[Path], tuple[list[str], Path]]] = {
    "folder": in_a_folder,
    "tar": in_a_tar,
    "table": in_a_table,
    "table of paths": as_paths_in_a_table,
}


def rows(store: Path, run: str = "default") -> np.ndarray:
    artifact = Run.open(store, run).artifact("embeddings")
    return artifact.embeddings(artifact.only_part)


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_in_the_middle_is_embedded_again(tmp_path, kind):
    named, path = KINDS[kind](tmp_path)
    store = tmp_path / "store"
    succeed(store, "embed", *named, *DIGITS)
    before = rows(store)
    change_middle(path)
    done = succeed(store, "embed", *named, *DIGITS)
    assert "was changed since it was embedded" in done.err
    after = rows(store)
    assert len(after) == len(before) and not np.array_equal(before, after)
    fresh = tmp_path / "fresh"
    succeed(fresh, "embed", *named, *DIGITS)
    np.testing.assert_array_equal(rows(fresh), after)
    again = succeed(store, "embed", *named, *DIGITS)
    assert "nothing to do" in again.err and "was changed" not in again.err
    # What is shown and copied is found under the new identity.
    run = Run.open(store)
    embeddings = run.artifact("embeddings")
    assert all(read_row(embeddings, run.record.sources, row) for row in range(3))
    assert "copied 3 samples" in succeed(store, "curate", "--out", tmp_path / "out").out


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_only_touched_or_moved_is_not_embedded_again(tmp_path, kind):
    named, path = KINDS[kind](tmp_path / "in")
    store = tmp_path / "store"
    succeed(store, "embed", *named, *DIGITS)
    later = time.time() + 100
    os.utime(path, (later, later))
    for _ in range(2):
        done = succeed(store, "embed", *named, *DIGITS)
        assert "nothing to do" in done.err and "was changed" not in done.err
    if kind == "table of paths":
        return  # its paths are absolute
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    moved = [word.replace(str(tmp_path / "in"), str(tmp_path / "copy")) for word in named]
    assert "nothing to do" in succeed(store, "embed", *moved, *DIGITS).err


def test_a_change_in_the_middle_of_a_long_text_is_embedded_again(tmp_path):
    write_bmp(tmp_path / "photos" / "a.bmp", 0)
    caption, store = tmp_path / "photos" / "a.txt", tmp_path / "store"
    named = ["--images", str(tmp_path / "photos")]
    for n, middle in enumerate(("a cat", "a dog")):
        caption.write_text("x" * 6000 + middle + "y" * 6000)
        for again in (False, True):
            when = time.time() + 100 * n + 50 * again
            os.utime(caption, (when, when))
            output = succeed(store, "embed", *named, *DIGITS).err
            assert ("was changed since it was embedded" in output) == (n == 1 and not again)
        assert Run.open(store).artifact("embeddings").column("caption") == [caption.read_text()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_image_is_not_copied_under_its_old_key(tmp_path, kind):
    named, path = KINDS[kind](tmp_path)
    store = tmp_path / "store"
    succeed(store, "embed", *named, *DIGITS)
    status = path.stat()
    later = time.time() + 100
    os.utime(path, (later, later))
    succeed(store, "curate", "--out", tmp_path / "same")  # touched alone
    change_middle(path)
    os.utime(path, ns=(status.st_atime_ns, int(later * 1e9)))
    line = fail(store, "curate", "--out", tmp_path / "out")
    assert "was changed since it was embedded" in line
    assert not (tmp_path / "out").exists()
    line = fail(store, "export", "fiftyone", "--out", tmp_path / "out")
    assert "was changed since it was embedded" in line


def test_another_run_does_not_reuse_embeddings_of_a_changed_source(tmp_path):
    named, path = in_a_folder(tmp_path)
    store = tmp_path / "store"
    succeed(store, "embed", *named, *DIGITS)
    before = rows(store)
    change_middle(path)
    done = succeed(store, "embed", *named, *DIGITS, "--run", "other")
    assert "was changed since it was embedded" in done.err
    assert not np.array_equal(rows(store, "other"), before)
    np.testing.assert_array_equal(rows(store), before)


@pytest.mark.parametrize("is_later", [False, True])
def test_a_store_without_stamps_trusts_sources_older_than_its_embeddings(tmp_path, is_later):
    named, path = in_a_folder(tmp_path)
    store = tmp_path / "store"
    succeed(store, "embed", *named, *DIGITS)
    record = Store(store).runs.read("default")
    assert record.stamps
    Store(store).runs.update("default", stamps=dict.fromkeys(record.stamps))
    change_middle(path)
    when = time.time() + (100 if is_later else -10_000)
    for file in path.parent.iterdir():
        os.utime(file, (when, when))
    done = succeed(store, "embed", *named, *DIGITS)
    assert ("was changed since it was embedded" in done.err) == is_later
    assert ("nothing to do" in done.err) == (not is_later)


def test_imported_vectors_repaired_in_their_middle_are_imported_again(tmp_path):
    store, file = tmp_path / "artifacts", tmp_path / "x.npy"
    vectors = np.random.default_rng(0).normal(size=(3000, 32)).astype(np.float32)
    np.save(file, vectors)
    words = ("import", file, "--model", "ViT-B-32")
    succeed(store, *words)
    before = Run.open(store).artifact("embeddings")
    os.utime(file)
    succeed(store, *words)
    assert Run.open(store).artifact("embeddings").version == before.version
    vectors[1500] *= -1
    np.save(file, vectors)
    done = succeed(store, *words)
    assert "was changed since it was embedded" in done.err
    after = Run.open(store).artifact("embeddings")
    assert after.version != before.version
    old, new = (one.embeddings(one.parts[0].name)[1500] for one in (before, after))
    assert np.array_equal(new, -old)
