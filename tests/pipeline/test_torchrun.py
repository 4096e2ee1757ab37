"""Training over two processes that torchrun starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run

from .cli import succeed

pytestmark = pytest.mark.slow

SETTINGS = ("hidden=16", "features=5", "batch=64", "checks=3", "columns=9")
TRAIN = (
    *("train", "--epochs", "3", "--seed", "3", "--eta", "0.2"),
    *(f"--set=train.{setting}" for setting in SETTINGS),
)


def train_with_two(store: Path) -> subprocess.CompletedProcess[str]:
    """Trains by two processes that torchrun starts."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "cpp_pipe", *TRAIN, "--store", str(store)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of rows."""
    folder = tmp_path_factory.mktemp("rows")
    generator = np.random.default_rng(0)
    x = np.eye(12)[np.arange(200) % 12] + 0.4 * generator.standard_normal((200, 12))
    np.savez(folder / "rows.npz", x=(x / np.linalg.norm(x, axis=1)[:, None]).astype(np.float32))
    succeed(folder / "store", "import", folder / "rows.npz", "--model", "ViT-B-32")
    return folder / "store"


@pytest.fixture(scope="module")
def trained(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store after a training by one process."""
    store = shutil.copytree(imported, tmp_path_factory.mktemp("trained") / "store")
    succeed(store, *TRAIN)
    return store


def test_two_processes_train_the_same_heads_as_one(
    imported: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(imported, tmp_path / "two")
    done = train_with_two(tmp_path / "two")
    one, two = (Run.open(store).artifact("heads") for store in (trained, tmp_path / "two"))
    assert one.version == two.version
    part = one.only_part
    for role, column in (("history", "loss"), ("checks", "stability")):
        ours, theirs = (a.table(part, role)[column].to_numpy() for a in (two, one))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    weights = one.tensors(part, "weights")
    for name, value in two.tensors(part, "weights").items():
        np.testing.assert_allclose(value, weights[name], atol=1e-4, err_msg=name)
    assert done.stderr.count("train: making heads") == 1
    assert two.path(part, "picture").read_bytes()[:4] == b"\x89PNG"


def test_both_processes_find_trained_heads(trained: Path) -> None:
    assert "nothing to do" in train_with_two(trained).stderr
