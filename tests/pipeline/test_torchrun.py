"""Training over two processes that torchrun starts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run

FLAGS = ["--epochs", "3", "--seed", "3", "--eta", "0.2"]
SETTINGS = ["hidden=16", "features=5", "batch=64", "checks=3", "columns=9"]


def run(store: Path, *words: str, processes: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m"]
    if processes:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    done = subprocess.run(
        [*command, "cpp_pipe", *words, "--store", str(store)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    x = np.eye(12)[np.arange(200) % 12] + 0.4 * generator.standard_normal((200, 12))
    np.savez(tmp_path / "rows.npz", x=(x / np.linalg.norm(x, axis=1)[:, None]).astype(np.float32))
    return tmp_path / "rows.npz"


def test_two_processes_train_the_same_heads_as_one(rows: Path, tmp_path: Path) -> None:
    flags = [*FLAGS, *(f"--set=train.{one}" for one in SETTINGS)]
    said = []
    for store, processes in ((tmp_path / "one", 0), (tmp_path / "two", 2)):
        run(store, "import", str(rows), "--model", "ViT-B-32")
        said.append(run(store, "train", *flags, processes=processes))
    one, two = (Run.open(tmp_path / name).artifact("heads") for name in ("one", "two"))
    assert one.version == two.version
    part = one.parts[0].name
    for role, column in (("history", "loss"), ("checks", "stability")):
        ours, theirs = (a.table(part, role)[column].to_numpy() for a in (two, one))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    weights = one.tensors(part, "weights")
    for name, value in two.tensors(part, "weights").items():
        np.testing.assert_allclose(value, weights[name], atol=1e-4, err_msg=name)
    assert said[1].stderr.count("train: making heads") == 1
    assert two.path(part, "picture").read_bytes()[:4] == b"\x89PNG"


def test_both_processes_find_trained_heads(rows: Path, tmp_path: Path) -> None:
    flags = [*FLAGS, *(f"--set=train.{one}" for one in SETTINGS)]
    run(tmp_path / "store", "import", str(rows), "--model", "ViT-B-32")
    run(tmp_path / "store", "train", *flags)
    again = run(tmp_path / "store", "train", *flags, processes=2)
    assert "nothing to do" in again.stderr
