"""scikit-learn's handwritten digits as shards."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from webdataset.autodecode import imagehandler
from webdataset.tariterators import group_by_keys, tar_file_expander

from cpp_pipe.stages.sources.digits import (
    digit_halves,
    digit_image,
    digit_label,
    write_digit_shards,
)
from cpp_pipe.store.errors import ShardError


def test_the_halves_split_all_scans():
    train, demo = digit_halves()
    assert sorted([*train, *demo]) == list(range(1797))
    assert abs(len(train) - len(demo)) <= 10


def test_both_halves_hold_every_digit_equally_often():
    labels = load_digits().target
    train, demo = (np.bincount(labels[rows], minlength=10) for rows in digit_halves())
    assert (abs(train - demo) <= 1).all()


def test_a_digit_image_shows_its_scan():
    scan = load_digits().images[123]
    image = digit_image(123)
    assert (image.mode, image.size) == ("L", (32, 32))
    shrunk = np.asarray(image.resize((8, 8), Image.Resampling.BOX), np.float64)
    assert np.corrcoef(shrunk.ravel(), scan.ravel())[0, 1] > 0.99


def test_the_shards_hold_the_unseen_half_as_webdataset_reads_it(tmp_path: Path):
    paths = write_digit_shards(tmp_path / "digits", shards=3)
    samples = []
    for path in paths:
        with path.open("rb") as stream:
            files = tar_file_expander([{"url": str(path), "stream": stream}])
            samples += group_by_keys(files)
    rows = [int(sample["__key__"].removeprefix("digit_")) for sample in samples]
    assert sorted(rows) == digit_halves()[1].tolist()
    labels = load_digits().target
    for row, sample in list(zip(rows, samples, strict=True))[::37]:
        assert sample["cls"] == str(labels[row]).encode() == str(digit_label(row)).encode()
        image = imagehandler("pill")("png", sample["png"])
        assert np.array_equal(np.asarray(image), np.asarray(digit_image(row)))


def test_writing_again_touches_nothing(tmp_path: Path):
    paths = write_digit_shards(tmp_path / "digits")
    before = [path.stat().st_mtime_ns for path in paths]
    assert write_digit_shards(tmp_path / "digits") == paths
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_the_bytes_do_not_depend_on_time_or_place(tmp_path: Path):
    first = [path.read_bytes() for path in write_digit_shards(tmp_path / "one", shards=2)]
    second = [path.read_bytes() for path in write_digit_shards(tmp_path / "deep" / "two", shards=2)]
    assert first == second


def test_two_processes_may_write_at_once(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=write_digit_shards, args=(tmp_path / "digits",)) for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert len(list((tmp_path / "digits").iterdir())) == 4


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ShardError, match="name an empty folder"):
        write_digit_shards(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("shards", [0, -1, 10_000])
def test_a_number_of_shards_out_of_range_is_refused(tmp_path: Path, shards: int):
    with pytest.raises(ShardError, match=f"shards must be from 1 to .*, got {shards}"):
        write_digit_shards(tmp_path / "digits", shards=shards)
