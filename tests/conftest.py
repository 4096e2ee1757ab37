"""Fixtures that every folder of tests shares."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from .forked import preload

# Everything here is small: more threads would spend more time waiting than working.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# umap compiles for 40 seconds; without optimisation for 14.
os.environ.setdefault("NUMBA_OPT", "0")
# Stores wait at each of their many files until it is on the disk: memory is faster.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 6 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
# A shell's background jobs ignore Ctrl-C, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Where servers say that they run: not among the user's own. Sockets need a short path.
_SERVERS = tempfile.TemporaryDirectory(prefix="s", dir="/tmp" if Path("/tmp").is_dir() else None)
os.environ["XDG_RUNTIME_DIR"] = _SERVERS.name
# pytest-xdist sets it in its workers: how wide commands print is for each test to say.
os.environ.pop("COLUMNS", None)

_CHECKED = (
    "coding_length", "heads", "metrics", "word_ranking", "neighbours",
    "objective", "rates", "farthest", "image_scores", "row_scores",
    "sinkhorn", "stability", "early_stopping", "symmetric", "distributed", "training",
    "views", "votes", "whitening", "threads",
    "clustering.cluster_numbers", "clustering.code_lengths", "clustering.communities",
    "clustering.confidence", "clustering.consensus", "clustering.convergence",
    "clustering.hierarchy", "clustering.k_choice", "clustering.k_max",
    "clustering.kmeans", "clustering.krylov", "clustering.landmarks",
    "clustering.memberships", "clustering.pieces", "clustering.novelty",
    "clustering.sampling", "clustering.spectral", "clustering.verdict",
    "duplicates.bounds", "duplicates.cells", "duplicates.confirmation", "duplicates.image_copies",
    "duplicates.image_hashes", "duplicates.large_sets", "duplicates.near_duplicates",
    "duplicates.proposals", "duplicates.registration",
)  # fmt: skip

preload()

# Only tests check the shapes and types of the maths.
install_import_hook(
    [f"cpp_pipe.stages.algorithms.{name}" for name in _CHECKED], "beartype.beartype"
)

# The time of an example depends on how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SLOW = Path(__file__).with_name("slow.txt")
"""Tests that took 1.5 s or more on two cores when they were last measured, by `--durations`."""

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that runs all tests."""
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips slow tests without `--slow`. At its end pytest lists how many, by file."""
    items.sort(key=lambda item: item.get_closest_marker("umap") is None)
    listed = set(SLOW.read_text().splitlines())
    for item in items:
        if item.nodeid in listed:
            item.add_marker(pytest.mark.slow)
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run make test-all, or pytest --slow")
    for item in items:
        # One that is asked for by its name is run.
        names = {item.nodeid, item.nodeid.split("[")[0]}
        is_asked_for = item.nodeid in listed and names & set(config.args)
        if item.get_closest_marker("slow") is not None and not is_asked_for:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images, embeddings, models and golden numbers next to the project."""
    if SHARED.is_dir():
        return SHARED
    reason = f"the test data is missing: no folder {SHARED.name}/ next to the project"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def digit_shards(tmp_path_factory) -> Path:
    """A folder of three small tar shards of real digits."""
    from .stages.shards import write_shards

    folder = tmp_path_factory.mktemp("digits") / "shards"
    write_shards(folder)
    return folder
