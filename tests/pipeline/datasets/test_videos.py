"""fetch ucf101 from videos, with a decoder in place of torchcodec's that reads any file."""

import json
import shutil
import sys

import pytest

from .synthetic_files import make_ucf_videos
from .test_fetch import fetch, samples_of

_DECODER = '''
import types

import torch


class VideoDecoder:
    """Five grey frames for a file that is there."""

    def __init__(self, path, dimension_order):
        try:
            path.read_bytes()
        except OSError as error:
            raise RuntimeError(f"Could not open input file: {path} {error.strerror}") from error
        self.metadata = types.SimpleNamespace(num_frames=5)

    def get_frame_at(self, number):
        return types.SimpleNamespace(data=torch.full((8, 8, 3), 40 * number, dtype=torch.uint8))
'''


@pytest.fixture(autouse=True)
def decoder(tmp_path, monkeypatch):
    """A package torchcodec that needs no FFmpeg."""
    package = tmp_path / "packages" / "torchcodec"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "decoders.py").write_text(_DECODER)
    monkeypatch.syspath_prepend(package.parent)
    for name in ("torchcodec", "torchcodec.decoders"):
        monkeypatch.setitem(sys.modules, name, None)  # restored, or removed, after the test
        del sys.modules[name]


def test_a_split_that_is_named_twice_is_written_once(tmp_path, monkeypatch):
    """Its shards were written twice under other keys, and its images counted twice."""
    make_ucf_videos(tmp_path / "files", monkeypatch)
    twice = ("--split", "test", "--split", "test")
    done = fetch("ucf101", tmp_path / "out", "--from", tmp_path / "files", *twice)
    assert "seen 2 = written 2 + skipped 0, in 1 shard" in done.out
    keys = samples_of([tmp_path / "out" / "test-00000.tar"]).keys()
    assert keys == {"Archery/v_Archery_g01_c01", "YoYo/v_YoYo_g01_c01"}


def test_a_listed_video_that_is_missing_is_counted_and_keeps_its_class(tmp_path, monkeypatch):
    """It vanished without a word, and without its folder all later classes had other numbers."""
    expected = make_ucf_videos(tmp_path / "files", monkeypatch)
    whole = fetch("ucf101", tmp_path / "whole", "--from", tmp_path / "files")
    assert "seen 4 = written 4 + skipped 0" in whole.out
    shutil.rmtree(tmp_path / "files" / "UCF-101" / "Archery")
    out = tmp_path / "out"
    done = fetch("ucf101", out, "--from", tmp_path / "files")
    assert "seen 4 = written 2 + skipped 2, in 2 shards" in done.out
    skipped = json.loads((out / "skipped.json").read_text())
    assert {image["key"] for image in skipped} == {key for key in expected if "Archery" in key}
    samples = [samples_of(sorted(folder.glob("*.tar"))) for folder in (tmp_path / "whole", out)]
    assert samples[1] == {key: samples[0][key] for key in samples[1]}
    classes = [
        json.loads((tmp_path / name / "classes.json").read_text()) for name in ("whole", "out")
    ]
    assert classes[0] == classes[1] == ["Archery", "YoYo"]
