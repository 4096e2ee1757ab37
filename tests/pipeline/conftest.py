"""Runs that tests of several modules start from."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .curation import world


@pytest.fixture(scope="session")
def copy_of_run(tmp_path_factory, digit_shards) -> Callable[[Path], Path]:
    """Copies a small run of digits with clusters and captions, made once, to a folder."""
    made = world.make_run(tmp_path_factory.mktemp("run") / "artifacts", digit_shards)
    return lambda folder: shutil.copytree(made, folder, symlinks=True)


@pytest.fixture(scope="session")
def page_store(tmp_path_factory, digit_shards) -> Path:
    """A store with everything that the page can show. Read-only: tests change a `copy_of` it."""
    from .serve.server import make_run  # it loads the server

    return make_run(tmp_path_factory.mktemp("page") / "artifacts", digit_shards)


@pytest.fixture
def sighup_ends_processes() -> Iterator[None]:
    """SIGHUP ends processes that the test starts, even where `nohup` ignores it for the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
