"""Parts as tasks of a Ray cluster: the same content, with a node that dies half-way."""

import errno
import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cpp_pipe.pipeline.making.engines.ray_cluster import task_errors
from cpp_pipe.stages.sources.digits import write_digit_shards

from .cli import DIGITS, embed, open_whole

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install ray"),
]

SHARDS = 40
_PATIENCE_SECONDS = 240


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with a processor."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield made
    made.shutdown()


def begin(store: Path, shards: Path, *flags: str) -> subprocess.Popen[str]:
    """An embed command on Ray, in a process of its own."""
    command = [sys.executable, "-m", "cpp_pipe", "embed", "--shards", str(shards), *DIGITS]
    return subprocess.Popen(
        [*command, "--engine", "ray", *flags, "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_node_changes_nothing(cluster: Any, tmp_path: Path):
    shards, store = tmp_path / "shards", tmp_path / "store"
    write_digit_shards(shards, SHARDS)
    node = cluster.add_node(num_cpus=1)
    process = begin(store, shards, "--address", cluster.address, "--batch-size", "1")
    began = time.monotonic()
    # Two parts under way at once: each node is making one.
    while len(list(store.rglob("parts/.tmp-*"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < _PATIENCE_SECONDS
        time.sleep(0.005)
    cluster.remove_node(node, allow_graceful=False)
    there = len(list(store.rglob("*.part.json")))
    printed, errors = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    assert there < SHARDS - 2
    assert "ray: 2 nodes with 2 CPUs and 0 GPUs" in errors
    assert "seen 896 = embedded 896 + skipped 0" in printed
    embed(tmp_path / "local", shards, more=["--batch-size", "1"])
    assert open_whole(store).content == open_whole(tmp_path / "local").content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_on_ray_as_it_ends_any_other(
    cluster: Any, tmp_path: Path, number: signal.Signals
):
    shards, store = tmp_path / "shards", tmp_path / "store"
    write_digit_shards(shards, SHARDS)
    process = begin(store, shards, "--address", cluster.address, "--batch-size", "1")
    began = time.monotonic()
    while not list(store.rglob("*.part.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < _PATIENCE_SECONDS
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 130, errors
    assert "stopped; what is finished is kept" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    there = len(list(store.rglob("*.part.json")))
    again = begin(store, shards, "--address", cluster.address)
    printed, errors = again.communicate(timeout=_PATIENCE_SECONDS)
    assert again.returncode == 0, errors
    assert there < SHARDS and "there already" in errors
    assert "seen 896 = embedded 896 + skipped 0" in printed


def test_an_error_in_a_task_is_one_line(cluster: Any, tmp_path: Path):
    shards = tmp_path / "shards"
    write_digit_shards(shards, 2)
    (shards / "00001.tar").write_text("no tar at all, " * 100)
    process = begin(tmp_path / "store", shards, "--address", cluster.address)
    _, errors = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 2, errors
    last = errors.splitlines()[-1]
    assert last.startswith("cpp-pipe: the shard ") and "00001.tar is not a tar" in last
    assert "Traceback" not in errors


def test_an_error_of_the_system_in_a_task_keeps_its_number_and_its_file():
    """Without them the command took it for a bug, and ended in a traceback."""
    ray: Any = importlib.import_module("ray")
    cause = PermissionError(errno.EACCES, "Permission denied", "/images/a.tar")
    failed = ray.exceptions.RayTaskError("make", "a traceback", cause).as_instanceof_cause()
    with pytest.raises(PermissionError) as raised, task_errors(ray, "make embeddings"):
        raise failed
    assert (raised.value.errno, raised.value.filename) == (errno.EACCES, "/images/a.tar")


def test_an_absent_cluster_gives_one_line(tmp_path: Path):
    shards = tmp_path / "shards"
    write_digit_shards(shards, 2)
    process = begin(tmp_path / "store", shards, "--address", "localhost:1")
    _, errors = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 2, errors
    assert "--address: no Ray cluster can be reached at 'localhost:1'" in errors.splitlines()[-1]
