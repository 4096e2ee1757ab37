"""A store that other processes change under a server, which runs in a process of its own.

Nothing ends the server, and every request gets one clear answer: that of the run as it is, or as it
was opened, or a message that says what is wrong.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpp_pipe.store import Store

from ...forked import fork
from ...waiting import wait_until
from ..cli import succeed
from .process import ServerProcess, fork_server
from .server import WORDS
from .test_images import encoded

PATHS = (
    "/api/run",
    "/api/state",
    "/api/clusters",
    "/api/clusters?grouping=k-3",
    "/api/clusters/1",
    "/api/clusters/1/rows",
    "/api/tree",
    "/api/images/40",
    "/api/images/40/neighbours",
    "/api/images/40/neighbours?space=embeddings",
    "/api/search?row=3",
    "/api/search?row=3&space=embeddings",
    "/api/map/points",
    "/api/pictures/40",
    "/api/skipped",
    "/",
)

OFTEN = ("--refresh", "0.2")
"""So that changes are soon seen."""


@pytest.fixture
def server(own_store) -> Iterator[ServerProcess]:
    """A server over a store that the test changes."""
    with fork_server(own_store, *OFTEN) as running:
        yield running


def codes(server: ServerProcess) -> dict[str, int]:
    """The status of every answer; none is a bug of the server."""
    answers = {path: server.client.get(path) for path in PATHS}
    assert server.process.poll() is None, "the server ended"
    for path, answer in answers.items():
        assert answer.status_code in (200, 400, 404, 503), f"{path}: {answer.text}"
        if answer.status_code != 200:
            (line,) = answer.json()["detail"].splitlines()
            assert line, path
    return {path: answer.status_code for path, answer in answers.items()}


def versions(store: Path, slot: str) -> str:
    """The version in a slot of the run."""
    return Store(store).runs.read("default").versions[slot]


def command(store: Path, *words: str) -> None:
    """Runs a command in another process."""
    with fork(*words, "--store", store) as running:
        code, _, err = running.finish()
        assert code == 0, err


def test_a_changed_run_is_opened_again_after_gc_removed_its_artifacts(server, own_store):
    assert set(codes(server).values()) == {200}
    generation = server.client.get("/api/state").json()["generation"]
    old = versions(own_store, "assignments")
    succeed(own_store, "assign", "--k", "4")
    succeed(own_store, "caption", "--vocabulary", WORDS)  # the old ones keep the old clusters
    command(own_store, "gc", "--yes")
    assert not (own_store / "assignments" / old).exists()
    codes(server)
    wait_until(
        lambda: server.client.get("/api/state").json()["generation"] != generation,
        "the run is opened again",
        30,
    )
    assert [g["name"] for g in server.client.get("/api/run").json()["groupings"]] == ["k-4"]
    after = codes(server)
    assert after["/api/clusters"] == after["/api/clusters/1"] == after["/api/pictures/40"] == 200


@pytest.mark.parametrize(
    "kind, is_warm",
    [
        ("embeddings", True),
        ("features", True),
        ("runs", True),
        ("embeddings", False),
        *(
            pytest.param(kind, is_warm, marks=pytest.mark.slow)
            for kind in ("assignments", "index", "hierarchy", "captions")
            for is_warm in (True, False)
        ),
    ],
)
def test_a_vanished_folder_does_not_end_the_server(server, own_store, kind, is_warm):
    if is_warm:
        assert set(codes(server).values()) == {200}
    shutil.rmtree(own_store / kind)
    after = codes(server)
    assert after["/"] == after["/api/state"] == 200
    if is_warm:  # what is mapped stays readable, as the server still holds it
        assert after["/api/clusters"] == after["/api/images/40/neighbours"] == 200
    shutil.rmtree(own_store)
    codes(server)


@pytest.mark.parametrize(
    "kind, how",
    [
        ("features", "truncated"),
        ("embeddings", "truncated"),
        ("index", "overwritten"),
        ("features", "replaced"),
        ("embeddings", "a folder"),
        *(
            pytest.param(kind, how, marks=pytest.mark.slow)
            for kind in ("index", "assignments")
            for how in ("replaced", "truncated", "a folder")
        ),
        pytest.param("features", "overwritten", marks=pytest.mark.slow),
        pytest.param("embeddings", "overwritten", marks=pytest.mark.slow),
    ],
)
def test_overwritten_files_do_not_end_the_server(server, own_store, kind, how):
    assert set(codes(server).values()) == {200}
    files = [file for file in own_store.glob(f"{kind}/*/parts/*") if file.suffix != ".json"]
    assert files
    for file in files:
        size = file.stat().st_size
        if how == "truncated":
            os.truncate(file, 0)
        elif how == "overwritten":
            with file.open("r+b") as opened:
                opened.write(b"\xff" * size)
        else:
            file.unlink()
            if how == "a folder":
                file.mkdir()
            else:
                file.write_bytes(b"something shorter")
    after = codes(server)
    assert after["/"] == after["/api/run"] == 200
    assert server.client.post("/api/search", content=encoded(20, 20)).status_code in (200, 503)


def test_an_index_that_is_made_again_is_used(server, own_store):
    assert set(codes(server).values()) == {200}
    before = server.client.get("/api/search?row=3&n=5").json()["hits"]
    shutil.rmtree(own_store / "index")
    command(own_store, "index")
    codes(server)
    wait_until(lambda: server.client.get("/api/search?row=3").status_code == 200, "found", 30)
    assert server.client.get("/api/search?row=3&n=5").json()["hits"] == before


def test_replaced_images_are_not_shown_as_the_old_ones(tmp_path):
    folder, store = tmp_path / "photos", tmp_path / "artifacts"
    folder.mkdir()
    for number in range(24):
        (folder / f"{number:02d}.jpg").write_bytes(encoded(40, 30))
    succeed(store, "embed", "--images", folder, "--model", "digits-clip", "--pretrained", "shipped")
    succeed(store, "assign", "--k", "2")
    with fork_server(store, *OFTEN) as server:
        shown = [server.client.get(f"/api/pictures/{row}").status_code for row in range(24)]
        assert shown == [200] * 24
        (folder / "00.jpg").write_bytes(encoded(400, 300))
        (folder / "01.jpg").write_bytes(b"<svg onload='alert(1)'/>")
        (folder / "02.jpg").unlink()
        (folder / "03.jpg").unlink()
        (folder / "03.jpg").symlink_to("/etc/passwd")
        (folder / "04.jpg").unlink()
        (folder / "04.jpg").mkdir()
        (folder / "05.jpg").unlink()
        os.mkfifo(folder / "05.jpg")
        for row in range(6):
            for path in (f"/api/pictures/{row}?size=1280", f"/api/pictures/{row}/original"):
                answer = server.client.get(path, timeout=10)
                assert answer.status_code == 404, f"{path}: {answer.text[:200]}"
                assert str(tmp_path) not in answer.text and "root:" not in answer.text
        assert server.client.get("/api/pictures/6?size=1280").status_code == 200


def test_a_run_record_that_is_half_written_is_served_as_it_was(server, own_store):
    before = server.client.get("/api/clusters").json()
    record = own_store / "runs" / "default" / "run.json"
    whole = record.read_text()
    for text in (whole[:50], "", "[]", json.dumps({**json.loads(whole), "versions": 5})):
        record.write_text(text)
        wait_until(lambda: server.client.get("/api/state").json()["trouble"], "it is noticed", 30)
        assert server.client.get("/api/clusters").json() == before
        record.write_text(whole)
        wait_until(
            lambda: server.client.get("/api/state").json()["trouble"] is None, "it is whole", 30
        )
