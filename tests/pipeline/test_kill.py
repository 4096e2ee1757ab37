"""After `kill -9` the same command gives the same content as an undisturbed run."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.chaos import Chaos
from cpp_pipe import Run

from ..forked import fork
from ..stages.shards import write_shards
from .cli import DIGITS, succeed

pytestmark = pytest.mark.slow

_PATIENCE_SECONDS = 240


def kill_when(is_time: Callable[[], bool], store: Path, *words: str | Path) -> None:
    """Starts a command, and kills it without any cleanup as soon as a condition holds."""
    with fork(*words, "--store", store) as process:
        began = time.monotonic()
        while not is_time():
            assert process.poll() is None, process.finish()
            assert time.monotonic() - began < _PATIENCE_SECONDS
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        assert process.finish()[0] == -signal.SIGKILL


def test_a_killed_embed_ends_with_the_same_content(tmp_path):
    shards = tmp_path / "shards"
    write_shards(shards, shards=8, size=60)
    words = ["embed", "--shards", shards, *DIGITS, "--batch-size", "4"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill_when(lambda: len(list(killed.rglob("*.part.json"))) >= 2, killed, *words)
    assert Run.open(killed).find("embeddings") is None
    assert "parts are there already" in succeed(killed, *words).err
    succeed(whole, *words)
    one, other = Run.open(killed).artifact("embeddings"), Run.open(whole).artifact("embeddings")
    assert one.version == other.version
    assert one.content == other.content
    assert one.rows == 480


def test_random_kills_lose_and_mix_nothing(tmp_path):
    chaos = Chaos.prepare(tmp_path, shards=8)
    rounds = list(chaos.rounds(3, seed=0))
    assert all(each.is_equal for each in rounds)
    assert [each.lost for each in rounds] == [0, 0, 0]
    assert any(each.kills for each in rounds)


def test_a_killed_training_ends_with_the_same_content(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(1024, 64)).astype(np.float32))
    flags = ["--set", "train.hidden=64", "--set", "train.batch=256", "--features", "32"]
    words = ["train", *flags, "--epochs", "50", "--eta", "0.2", "--set", "train.patience=0"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for store in (killed, whole):
        succeed(store, "import", tmp_path / "x.npy", "--model", "ViT-B-32")
    kill_when(lambda: any(killed.rglob("checkpoints/training.safetensors")), killed, *words)
    assert "train: continues at step" in succeed(killed, *words).err
    succeed(whole, *words)
    one, other = Run.open(killed).artifact("heads"), Run.open(whole).artifact("heads")
    assert one.content == other.content
    assert not any(killed.rglob("checkpoints/*"))
    table = one.table(one.only_part, "history")
    assert table.num_rows == 200
    assert np.isfinite(table.column("loss").to_numpy()).all()
