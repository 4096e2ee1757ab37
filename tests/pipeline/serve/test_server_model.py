"""A search asks a server of the same user for vectors, or loads the model itself."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpp_pipe.pipeline.serve.announcement import announce, find_announcement
from cpp_pipe.pipeline.serve.app import make_app
from cpp_pipe.pipeline.serve.open_run import CurrentRun, make_opener
from cpp_pipe.pipeline.serve.server import make_server
from cpp_pipe.stages.sources.digits import digit_halves, digit_image
from cpp_pipe.store import Store

from ...store.stores import rewrite
from ...waiting import wait_until
from ..cli import fail, hits_of, succeed

pytestmark = pytest.mark.skipif(
    not hasattr(os, "getuid"), reason="there are no users to tell apart"
)


@pytest.fixture(autouse=True)
def folder(monkeypatch) -> Iterator[Path]:
    """A folder of announcements for one test; its path is short, because sockets need that."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield Path(runtime) / "cpp-pipe" / "servers"


@contextlib.contextmanager
def announced(store: Path) -> Iterator[CurrentRun]:
    """A server that announces itself, until the end of the block."""
    current = CurrentRun(make_opener(Store(store), "default", "cpu"))
    with announce(Store(store), "default", "secret") as own:
        server = make_server(make_app(current, token="secret"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [own]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the server started", 20)
        try:
            yield current
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            current.close()


@pytest.mark.parametrize("space", ["features", "embeddings"])
def test_a_search_gives_the_same_hits_with_the_model_of_a_server(finished, tmp_path, space):
    digit_image(int(digit_halves()[1][5])).save(tmp_path / "img.png")
    words = ("--query", tmp_path / "img.png", "--not", "the number three")
    words = (*words[: 2 if space == "features" else 4], "--space", space)
    alone = hits_of(finished, *words)
    with announced(finished) as current:
        assert hits_of(finished, *words, "--no-server") == alone
        assert current.opened.finder.model.state.state == "not loaded"
        assert hits_of(finished, *words) == alone
        assert current.opened.finder.model.state.state == "ready"


def test_a_cut_text_is_reported_with_the_model_of_a_server(finished):
    words = ("search", "--text", "the number three " * 40)
    alone = succeed(finished, *words).err
    assert "its end does not count" in alone
    with announced(finished) as current:
        assert succeed(finished, *words).err == alone
        assert current.opened.finder.model.state.state == "ready"


def test_a_search_that_a_server_cannot_answer_loads_the_model(finished, tmp_path, folder):
    words = ("--text", "the number three")
    alone = hits_of(finished, *words)
    with announce(Store(finished), "default", None) as own:
        assert own is not None
        own.close()  # as of a server that was killed
        assert hits_of(finished, *words) == alone
    with announced(finished) as current:
        (path,) = folder.glob("*.json")
        rewrite(path, lambda value: value.update(token="another"))
        assert hits_of(finished, *words) == alone
        assert current.opened.finder.model.state.state == "not loaded"
        (tmp_path / "no.png").write_text("no image")
        assert "cannot be decoded" in fail(finished, "search", "--query", tmp_path / "no.png")


def test_leftovers_of_a_killed_server_are_removed_by_the_next_one(finished, folder):
    with announce(Store(finished), "default", None) as own:
        assert own is not None
        left = {path.name: path.read_bytes() for path in folder.glob("*.json")}
        (address,) = folder.glob("*.sock")
        address.rename(folder / "kept")
    (folder / "kept").rename(address)
    for name, content in left.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    with announce(Store(finished), "another", None), announce(Store(finished), "third", None):
        assert not address.exists()
        assert len(list(folder.glob("*.sock"))) == len(list(folder.glob("*.json"))) == 2
    assert not list(folder.iterdir())


def test_an_announcement_exists_while_its_server_runs_for_its_owner(finished, folder):
    store = Store(finished)
    with announce(store, "default", "secret"):
        found = find_announcement(store, "default")
        assert found is not None and found.token == "secret"
        assert find_announcement(store, "other") is None
        modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert (modes, folder.stat().st_mode & 0o777) == ({0o600}, 0o700)
        with announce(store, "default", "later"):
            pass
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("change", ["folder", "file", "link", "place", "version", "text", "huge"])
def test_an_announcement_of_another_user_or_version_is_not_trusted(finished, folder, change):
    store = Store(finished)
    with announce(store, "default", "secret"):
        assert find_announcement(store, "default") is not None
        (path,) = folder.glob("*.json")
        if change == "folder":
            folder.chmod(0o770)
        elif change == "file":
            path.chmod(0o640)
        elif change == "link":
            path.symlink_to(path.rename(folder.parent / "elsewhere.json"))
        elif change == "place":
            rewrite(path, lambda value: value.update(address="/tmp/other.sock"))
        elif change == "version":
            rewrite(path, lambda value: value.update(cpp_pipe="0.0.1"))
        else:
            path.write_text("no JSON" if change == "text" else "[" * 100_000)
        assert find_announcement(store, "default") is None
        folder.chmod(0o700)
