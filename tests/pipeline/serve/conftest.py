"""A run of digits, and a server over it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpp_pipe import Run

from ...store.stores import rewrite
from .browser import chromium
from .markup_run import make_markup_run
from .server import Served, make_run, serve


@pytest.fixture(scope="session")
def finished(tmp_path_factory, digit_shards) -> Path:
    """A store whose run has everything that the page can show. Read-only."""
    folder = tmp_path_factory.mktemp("serve")
    shutil.copytree(digit_shards, folder / "shards")
    return make_run(folder / "artifacts", folder / "shards")


@pytest.fixture(scope="module")
def run(finished) -> Run:
    """The run of the finished store."""
    return Run.open(finished)


@pytest.fixture(scope="session")
def served(finished) -> Iterator[Served]:
    """A server over the finished store."""
    with serve(finished) as server:
        yield server


@pytest.fixture(scope="session")
def markup_store(tmp_path_factory) -> Path:
    """A store whose run is full of markup. Read-only."""
    return make_markup_run(tmp_path_factory.mktemp("markup"))


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    with chromium() as running:
        yield running


@pytest.fixture
def own_store(finished, tmp_path) -> Path:
    """A copy of the finished store and of its shards, for a test that changes them."""
    shutil.copytree(finished.parent, tmp_path / "all")
    store = tmp_path / "all" / "artifacts"
    record = store / "runs" / "default" / "run.json"
    place, own = str(finished.parent), str(tmp_path / "all")
    rewrite(
        record,
        lambda value: value.update(
            sources={part: at.replace(place, own) for part, at in value["sources"].items()}
        ),
    )
    return store


@pytest.fixture
def editable(own_store) -> Iterator[Served]:
    """A server that writes decisions, over a store of the test's own."""
    with serve(own_store, is_editable=True) as server:
        yield server
