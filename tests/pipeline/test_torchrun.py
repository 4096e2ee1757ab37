"""Training over two processes that torchrun starts."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run

from ..waiting import wait_until
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


def start_two(store: Path, *words: str) -> list[subprocess.Popen[str]]:
    """Two processes of a command, as torchrun starts them, but without its supervision."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    quiet = {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "cpp_pipe", *words, "--store", str(store)],
            env=os.environ | shared | quiet | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


@pytest.mark.parametrize("stopped", [(0, 1), (0,), (1,)])
def test_sigterm_ends_every_process_in_one_line_and_the_training_continues(
    imported: Path, tmp_path: Path, stopped: tuple[int, ...]
) -> None:
    store = shutil.copytree(imported, tmp_path / "store")
    longer = ("--set", "train.patience=0", "--epochs", "4000")
    processes = start_two(store, *TRAIN, *longer)
    try:
        began = time.monotonic()
        while not any(store.rglob("checkpoints/training.safetensors")):
            assert all(each.poll() is None for each in processes), processes[0].communicate()
            assert time.monotonic() - began < 200
            time.sleep(0.1)
        for rank in stopped:
            processes[rank].send_signal(signal.SIGTERM)
        ends = [process.communicate(timeout=90) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for rank, (process, (_, errors)) in enumerate(zip(processes, ends, strict=True)):
        assert "Traceback" not in errors, errors
        last = errors.strip().splitlines()[-1]
        if rank in stopped:
            assert (process.returncode, "stopped; what is finished" in last) == (130, True), errors
        else:
            assert process.returncode == 2, errors
            assert "was stopped or cannot be reached" in last and "same command again" in last
    again = start_two(store, *TRAIN, *longer)
    try:
        wait_until(lambda: "continues at step" in read_so_far(again[0]), "it continues", 120)
    finally:
        for process in again:
            process.kill()
            process.communicate()


def read_so_far(process: subprocess.Popen[str]) -> str:
    """The next line of a process' messages."""
    assert process.stderr is not None
    return process.stderr.readline()


def test_both_processes_find_trained_heads(trained: Path) -> None:
    assert "nothing to do" in train_with_two(trained).stderr
