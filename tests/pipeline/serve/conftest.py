"""A run of digits, and a server over it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browsing import chromium
from .nasty import make_nasty_run
from .serving import Served, make_run, serve


@pytest.fixture(scope="session")
def finished(tmp_path_factory, digit_shards) -> Path:
    """A store whose run has all that the page can show. Not to be changed."""
    folder = tmp_path_factory.mktemp("serve")
    shutil.copytree(digit_shards, folder / "shards")
    return make_run(folder / "artifacts", folder / "shards")


@pytest.fixture(scope="session")
def served(finished) -> Iterator[Served]:
    """A server over it."""
    with serve(finished) as found:
        yield found


@pytest.fixture(scope="session")
def nasty(tmp_path_factory) -> Path:
    """A store whose run is full of markup. Not to be changed."""
    return make_nasty_run(tmp_path_factory.mktemp("nasty"))


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture
def moved(finished, tmp_path) -> Path:
    """A store of its own, whose shards are its own too."""
    shutil.copytree(finished.parent, tmp_path / "all")
    store = tmp_path / "all" / "artifacts"
    record = store / "runs" / "default" / "run.json"
    before, now = str(finished.parent), str(tmp_path / "all")
    record.write_text(record.read_text().replace(before, now))
    return store
