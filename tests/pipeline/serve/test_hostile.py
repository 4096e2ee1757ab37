"""What somebody with bad intent, or bad luck, sends: turned away in words, and never a 500."""

import contextlib
import io
import shutil
import socket
import threading
import time
import zipfile
from urllib.parse import quote

import pytest

from cpp_pipe.pipeline.serve import bodies, serving
from cpp_pipe.pipeline.serve.finder import MOST_UPLOAD

from .nasty import ROWS, SCRIPT, key_of
from .serving import connect, serve, wait_until
from .test_pictures import SVG, bomb, encoded

PATHS = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "..\\..\\etc\\passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "\0",
    "%00",
    "~root",
    "C:\\Windows\\win.ini",
    "\uff0e\uff0e/etc/passwd",
    "A" * 3000,
]

PARAMETERS = [
    ("/api/clusters", "grouping"),
    ("/api/clusters/0", "grouping"),
    ("/api/clusters/0/rows", "grouping"),
    ("/api/clusters/0/rows", "order"),
    ("/api/clusters/0/rows", "offset"),
    ("/api/images/0/neighbours", "space"),
    ("/api/rows", "key"),
    ("/api/rows", "shard"),
    ("/api/pictures/0", "size"),
    ("/api/pictures/0", "v"),
    ("/api/search", "vector"),
    ("/api/search", "row"),
    ("/api/skipped", "reason"),
    ("/api/map/clusters", "grouping"),
]


@pytest.mark.parametrize("hostile", PATHS)
def test_no_parameter_is_a_path(served, hostile):
    for path, name in PARAMETERS:
        parameters = {name: hostile, **({"key": "a"} if name == "shard" else {})}
        found = served.get(path, **parameters)
        assert found.status_code < 500, f"{path} {name}: {found.text}"
        assert b"root:" not in found.content


@pytest.mark.parametrize("hostile", PATHS[:-1])
@pytest.mark.parametrize(
    "path",
    ["/static/{}", "/api/clusters/{}", "/api/images/{}", "/api/pictures/{}/original", "/{}"],
)
def test_no_part_of_an_address_is_a_path(served, path, hostile):
    # Sent as it stands: a client would tidy it up.
    address = path.format(quote(hostile, safe="/.%\\:~"))
    with connect(served.port) as bare:
        bare.sendall(
            f"GET {address} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: bare.recv(65536), b""))
    code = int(answer.split(b" ", 2)[1])
    assert 400 <= code < 500 and b"root:" not in answer


def test_a_text_is_not_a_path_either(served):
    found = served.get("/api/search", text="../../etc/passwd")
    assert found.status_code == 200 and b"root:" not in found.content


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        SVG,
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]>" + SVG,
        b"GIF89a" + b"\xff" * 50,
        encoded(64, 64)[:700],
        bomb(60_000, 60_000),
        bomb(20_000, 20_000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(%pipe%id) (r) file",
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=[
        "empty",
        "zeros",
        "svg",
        "entities",
        "gif",
        "cut",
        "bomb",
        "smaller bomb",
        "postscript",
        "header",
    ],
)
def test_what_is_no_picture_is_no_query(served, data):
    began = time.monotonic()
    found = served.client.post("/api/search", content=data)
    assert found.status_code == 400, found.text
    assert "no picture that can be decoded" in found.json()["detail"]
    assert time.monotonic() - began < 20


def test_an_archive_that_unpacks_to_much_is_no_picture(served):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 50_000_000)
    found = served.client.post("/api/search", content=packed.getvalue())
    assert found.status_code == 400


def test_an_upload_over_the_limit_is_turned_away_by_what_it_says_and_by_what_it_is(served):
    found = served.client.post("/api/search", content=b"\xff\xd8\xff" + b"x" * MOST_UPLOAD)
    assert found.status_code == 413 and "allowed" in found.json()["detail"]

    def endless():
        for _ in range(2 * MOST_UPLOAD // 2**20):
            yield b"x" * 2**20

    chunked = served.client.post("/api/search", content=endless())
    assert chunked.status_code == 413


def test_an_upload_that_says_a_length_and_never_comes_is_given_up(finished, monkeypatch):
    monkeypatch.setattr(bodies, "SECONDS", 1.0)
    with serve(finished) as found, connect(found.port) as bare:
        bare.sendall(
            b"POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nsome"
        )
        assert bare.recv(4096).startswith(b"HTTP/1.1 408")
        assert found.get("/api/run").status_code == 200


def test_a_client_that_goes_away_in_the_middle_harms_nobody(served):
    for _ in range(20):
        with connect(served.port) as bare:
            bare.sendall(
                b"POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999\r\n\r\nx"
            )
        with connect(served.port) as bare:
            bare.sendall(b"GET /api/tree HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert served.get("/api/run").status_code == 200


def dribble(slow: socket.socket, data: bytes) -> None:
    """Sends a byte at a time, and is never done within the time that is given."""
    for byte in data:
        slow.sendall(bytes([byte]))
        time.sleep(0.1)


def test_who_asks_too_slowly_is_not_waited_for(finished, monkeypatch):
    monkeypatch.setattr(serving, "HEADER_SECONDS", 1.0)
    with serve(finished) as found, contextlib.ExitStack() as held:
        silent, slow, second = (held.enter_context(connect(found.port)) for _ in range(3))
        began = time.monotonic()
        second.sendall(b"GET /api/state HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += second.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /api/st")  # the rest never comes
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            dribble(slow, b"GET /api/run HTTP/1.1\r\nhost: localhost\r\n" * 9)
        assert time.monotonic() - began < 10
        assert silent.recv(100) == b""
        assert second.recv(100) == b""


def test_a_picture_that_takes_long_to_send_lasts_longer_than_a_question_may(finished, monkeypatch):
    monkeypatch.setattr(serving, "HEADER_SECONDS", 0.3)
    with serve(finished) as found, connect(found.port) as bare:
        bare.sendall(b"GET /static/plotly.min.js HTTP/1.1\r\nhost: localhost\r\n\r\n")
        time.sleep(1.5)  # does not read: the answer waits in buffers
        received = 0
        bare.settimeout(20)
        while received < 4_000_000:
            received += len(bare.recv(2**20))


def test_a_thousand_open_connections_leave_room_for_more(served):
    held = []
    try:
        for _ in range(1000):
            held.append(connect(served.port))
        for one in held[:200]:
            one.sendall(b"GET /api/r")
        began = time.monotonic()
        assert served.get("/api/run").status_code == 200
        assert served.get("/api/pictures/3", size=128).status_code == 200
        assert time.monotonic() - began < 5
    finally:
        for one in held:
            one.close()
    assert served.get("/api/run").status_code == 200


def test_nonsense_is_answered_as_such(served):
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 50 + b"x\r\n",
    ):
        with connect(served.port) as bare:
            bare.sendall(sent)
            bare.shutdown(socket.SHUT_WR)
            assert b"500" not in bare.recv(4096)[:20]
    with connect(served.port) as bare:
        bare.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 300_000)
        with contextlib.suppress(ConnectionResetError):
            assert b" 400 " in bare.recv(4096)
    assert served.get("/api/run").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "NONSENSE"])
def test_nothing_can_be_changed(served, method):
    for path in ("/api/run", "/api/images/0", "/static/main.js", "/"):
        assert served.client.request(method, path).status_code == 405


def test_markup_in_texts_stays_text(nasty):
    with serve(nasty) as found:
        cards = found.json("/api/clusters")["cards"]
        assert any(SCRIPT in name["caption"] for card in cards for name in card["names"])
        for row in range(ROWS):
            told = found.json(f"/api/images/{row}")
            assert told["key"] == key_of(row)
            assert told["caption"] == SCRIPT
            assert told["extra"]["half"] == "\N{REPLACEMENT CHARACTER}"
            assert told["extra"][SCRIPT] == [SCRIPT, {"deep": SCRIPT}]
            assert found.json("/api/rows", key=told["key"], shard=told["shard"]) == [row]
        for path in ("/api/clusters", "/api/images/0", "/api/tree"):
            answer = found.get(path)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "artifacts")
    return tmp_path / "artifacts"


def test_a_store_that_vanishes_is_told_and_what_is_open_is_still_answered(copied):
    with serve(copied) as found:
        before = found.json("/api/clusters")
        found.json("/api/search", row=3)
        shutil.rmtree(copied)
        found.current.look()
        assert found.json("/api/clusters") == before
        assert "any more" in found.json("/api/state")["trouble"]
        # Whatever else is asked for may be gone: in words, and never as a bug.
        for path in (
            "/api/run",
            "/api/tree",
            "/api/clusters/1",
            "/api/clusters/1/rows",
            "/api/clusters?grouping=k-3",
            "/api/images/40",
            "/api/images/40/neighbours?space=embeddings",
            "/api/map/points",
            "/api/pictures/40",
            "/api/skipped",
            "/api/evaluation",
        ):
            answer = found.get(path)
            assert answer.status_code in (200, 404, 503), f"{path}: {answer.text}"


def test_a_run_that_changes_is_opened_anew(copied):
    from ..cli import succeed

    with serve(copied) as found:
        assert [one["name"] for one in found.json("/api/run")["groupings"]] == ["k-5", "k-3"]
        generation = found.json("/api/state")["generation"]
        succeed(copied, "assign", "--k", "4")
        wait_until(lambda: found.json("/api/state")["generation"] != generation, "it was seen")
        told = found.json("/api/run")
        assert [one["name"] for one in told["groupings"]] == ["k-4"]
        assert not told["has_captions"]
        assert found.json("/api/clusters/0", grouping="k-4")["card"]["size"]


def test_a_run_that_is_damaged_is_kept_as_it_was(copied):
    with serve(copied) as found:
        before = found.json("/api/clusters")
        record = copied / "runs" / "default" / "run.json"
        record.write_text(record.read_text()[:50])
        found.current.look()
        assert found.json("/api/clusters") == before
        assert "run.json" in found.json("/api/state")["trouble"]


@pytest.mark.parametrize(
    "kind, path",
    [
        ("assignments", "/api/clusters"),
        ("captions", "/api/clusters"),
        ("embeddings", "/api/images/3"),
        ("features", "/api/images/3/neighbours"),
        ("embeddings", "/api/images/3/neighbours?space=embeddings"),
        ("index", "/api/search?row=3"),
        ("hierarchy", "/api/tree"),
        ("k_curve", "/api/run"),
        ("projection", "/api/map/points"),
    ],
)
@pytest.mark.parametrize("how", ["zeros", "cut", "empty"])
def test_files_that_are_damaged_are_told_as_such(copied, kind, path, how):
    for one in copied.glob(f"{kind}/*/parts/*"):
        if one.suffix != ".json":
            size = one.stat().st_size
            one.unlink()  # what is linked from elsewhere stays as it is
            one.write_bytes({"zeros": b"\0" * size, "cut": b"PAR1\x93NUMPY", "empty": b""}[how])
    with serve(copied) as found:
        answer = found.get(path)
        assert answer.status_code == 503, f"{answer.status_code}: {answer.text[:300]}"
        assert "verify" in answer.json()["detail"]
        assert found.get("/").status_code == 200


def test_many_at_once_get_what_each_asked_for(served):
    expected = {row: served.json(f"/api/images/{row}") for row in range(20)}
    wrong: list[object] = []

    def ask(worker: int) -> None:
        for step in range(30):
            row = (7 * worker + step) % 20
            found = served.client.get(f"/api/images/{row}")
            if found.status_code != 200 or found.json() != expected[row]:
                wrong.append((row, found.status_code))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
