"""Hostile and broken requests: refused with a message, and never with a 500."""

import contextlib
import io
import itertools
import os
import shutil
import socket
import threading
import time
import zipfile
from urllib.parse import quote

import httpx
import pytest

from cpp_pipe.pipeline.serve import request_body
from cpp_pipe.pipeline.serve import server as server_module
from cpp_pipe.pipeline.serve.finder import MAX_UPLOAD_BYTES
from cpp_pipe.pipeline.serve.responses import CachedAnswer, CachedAnswers

from ...waiting import wait_until
from ..cli import succeed
from .markup_run import ROWS, SCRIPT, key_of
from .server import Served, connect, serve
from .test_images import SVG, bomb, encoded

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
def test_no_parameter_is_read_as_a_path(served, hostile):
    for path, name in PARAMETERS:
        parameters = {name: hostile, **({"key": "a"} if name == "shard" else {})}
        answer = served.get(path, **parameters)
        assert answer.status_code < 500, f"{path} {name}: {answer.text}"
        assert b"root:" not in answer.content


@pytest.mark.parametrize("hostile", PATHS[:-1])
@pytest.mark.parametrize(
    "path",
    ["/static/{}", "/api/clusters/{}", "/api/images/{}", "/api/pictures/{}/original", "/{}"],
)
def test_no_part_of_an_address_is_read_as_a_path(served, path, hostile):
    # Sent over a bare socket: a client would normalise it.
    address = path.format(quote(hostile, safe="/.%\\:~"))
    with connect(served.port) as bare:
        bare.sendall(
            f"GET {address} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: bare.recv(65536), b""))
    code = int(answer.split(b" ", 2)[1])
    assert 400 <= code < 500 and b"root:" not in answer


def test_a_text_is_not_read_as_a_path(served):
    answer = served.get("/api/search", text="../../etc/passwd")
    assert answer.status_code == 200 and b"root:" not in answer.content


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
def test_an_upload_that_is_no_image_is_refused(served, data):
    start = time.monotonic()
    answer = served.client.post("/api/search", content=data)
    assert answer.status_code == 400, answer.text
    assert "cannot be decoded" in answer.json()["detail"]
    assert time.monotonic() - start < 20


def test_an_upload_too_thin_to_be_scaled_is_refused(served):
    answer = served.client.post("/api/search", content=encoded(1, 100_000, "PNG"))
    assert answer.status_code == 400, answer.text
    assert "cannot be embedded (too_large: 1 x 100000 pixels" in answer.json()["detail"]


def test_an_archive_that_expands_to_much_is_refused(served):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 50_000_000)
    answer = served.client.post("/api/search", content=packed.getvalue())
    assert answer.status_code == 400


def test_an_upload_over_the_limit_is_refused(served):
    answer = served.client.post("/api/search", content=b"\xff\xd8\xff" + b"x" * MAX_UPLOAD_BYTES)
    assert answer.status_code == 413 and "at most" in answer.json()["detail"]

    def endless():
        for _ in range(2 * MAX_UPLOAD_BYTES // 2**20):
            yield b"x" * 2**20

    chunked = served.client.post("/api/search", content=endless())
    assert chunked.status_code == 413


def test_an_upload_that_does_not_arrive_times_out(finished, monkeypatch):
    monkeypatch.setattr(request_body, "SECONDS", 1.0)
    with serve(finished) as server, connect(server.port) as bare:
        bare.sendall(
            b"POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nsome"
        )
        assert bare.recv(4096).startswith(b"HTTP/1.1 408")
        assert server.get("/api/run").status_code == 200


def test_open_uploads_are_limited_and_free_their_room(finished, monkeypatch):
    monkeypatch.setattr(request_body, "MAX_TOGETHER_BYTES", 2 * 2**20)
    upload = b"x" * 600_000
    head = "POST /{} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000\r\n\r\n"
    paths = itertools.cycle(["api/search", "knn-service"])
    with serve(finished) as server, contextlib.ExitStack() as held:

        def post() -> httpx.Response:
            return server.client.post("/api/search", content=upload)

        def hold_and_post() -> httpx.Response:
            bare = held.enter_context(connect(server.port))
            with contextlib.suppress(OSError):  # the server closes what it has no room for
                bare.sendall(head.format(next(paths)).encode() + upload)
            return post()

        # One that is held may find its room taken by the other request, so hold more each time.
        answers = iter(hold_and_post, None)
        answer = next(each for each in itertools.islice(answers, 30) if each.status_code == 503)
        assert answer.headers["retry-after"] and "too many uploads" in answer.json()["detail"]
        assert server.get("/api/run").status_code == 200
        held.close()
        wait_until(lambda: post().status_code == 400)


def test_clients_that_disconnect_do_not_disturb_others(served):
    for _ in range(20):
        with connect(served.port) as bare:
            bare.sendall(
                b"POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999\r\n\r\nx"
            )
        with connect(served.port) as bare:
            bare.sendall(b"GET /api/tree HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert served.get("/api/run").status_code == 200


def send_slowly(slow: socket.socket, data: bytes) -> None:
    """Sends a byte at a time, too slowly for the time limit."""
    for byte in data:
        slow.sendall(bytes([byte]))
        time.sleep(0.1)


def test_slow_and_silent_clients_are_disconnected(finished, monkeypatch):
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 1.0)
    with serve(finished) as server, contextlib.ExitStack() as held:
        silent, slow, second = (held.enter_context(connect(server.port)) for _ in range(3))
        start = time.monotonic()
        second.sendall(b"GET /api/state HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += second.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /api/st")  # the rest never comes
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_slowly(slow, b"GET /api/run HTTP/1.1\r\nhost: localhost\r\n" * 9)
        assert time.monotonic() - start < 10
        assert silent.recv(100) == b""
        assert second.recv(100) == b""


def test_an_answer_may_take_longer_than_a_request(finished, monkeypatch):
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.3)
    with serve(finished) as server, connect(server.port) as bare:
        bare.sendall(100 * b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n")
        size = 100 * len(server.get("/openapi.json").content)
        time.sleep(1.5)  # The client does not read: the answer waits in buffers.
        received = 0
        bare.settimeout(20)
        while received < size:
            received += len(bare.recv(2**20))


def test_a_thousand_open_connections_do_not_block_the_server(served):
    held = []
    try:
        for _ in range(1000):
            held.append(connect(served.port))
        for connection in held[:200]:
            connection.sendall(b"GET /api/r")
        start = time.monotonic()
        assert served.get("/api/run").status_code == 200
        assert served.get("/api/pictures/3", size=128).status_code == 200
        assert time.monotonic() - start < 5
    finally:
        for connection in held:
            connection.close()
    assert served.get("/api/run").status_code == 200


def test_nonsense_never_gives_a_500(served):
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


def send(server: Served, request: bytes) -> bytes:
    """The whole answer to bytes sent over a plain connection."""
    with connect(server.port) as bare:
        bare.sendall(request)
        return b"".join(iter(lambda: bare.recv(65536), b""))


@pytest.mark.parametrize(
    "headers",
    [
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: -1\r\n",
        b"content-length: 1e3\r\n",
        b"transfer-encoding: gzip\r\n",
        b"host: evil.example\r\n",
        b"a header without colon\r\n",
        b"x: a\r\n folded\x00\r\n",
        b"content-length: " + b"9" * 300 + b"\r\n",
    ],
)
def test_ambiguous_requests_are_refused(served, headers):
    """A proxy could read such a request in another way than the server."""
    answer = send(
        served,
        b"POST /api/search HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        + headers
        + b"\r\n0\r\n\r\nGET /api/state HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )
    assert answer.count(b"HTTP/1.1 ") == 1 and b'"generation"' not in answer
    assert 400 <= int(answer.split(b" ", 2)[1]) < 500 or b"501" in answer[:20]


def test_no_websocket_is_opened(served):
    answer = send(
        served,
        b"GET /api/state HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\n"
        b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert b"101" not in answer[:20] and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("hostile", ["a\r\nset-cookie: x=y", "a\nb", "é\u2028", '"; x="', "\0"])
def test_no_request_text_becomes_a_header(finished, hostile):
    with serve(finished, token="secret") as server:
        given = {"token": "secret", "text": hostile, hostile: hostile}
        for path in ("/", "/search", "/api/search", "/api/rows", "/static/" + quote(hostile)):
            answer = server.get(path, **given)
            assert answer.status_code in (200, 303, 404, 422)
            assert "x=y" not in answer.headers.get("set-cookie", "")
            assert answer.headers.get("location", "/").isprintable()


def test_the_name_of_a_download_is_ours_whatever_the_key(markup_store):
    with serve(markup_store) as server:
        headers = server.get("/api/pictures/3/original").headers
        assert headers["content-disposition"] == 'attachment; filename="row-3"'


def test_answers_in_memory_are_limited():
    answers = CachedAnswers(max_bytes=1000)
    for number in range(100):
        name = f"cluster {number}"
        made = answers.get(name, lambda: CachedAnswer(b"x" * 100))
        assert answers.get(name, lambda: CachedAnswer(b"other")) is made
        assert answers.get("cluster 0", lambda: CachedAnswer(b"x" * 100)).size == 100
    kept = [number for number in range(100) if answers.find(f"cluster {number}")]
    assert kept == [0, *range(91, 100)]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "NONSENSE"])
def test_no_method_changes_anything(served, method):
    for path in ("/api/run", "/api/images/0", "/static/main.js", "/"):
        assert served.client.request(method, path).status_code == 405


def test_markup_in_texts_stays_text(markup_store):
    with serve(markup_store) as server:
        cards = server.json("/api/clusters")["cards"]
        assert any(SCRIPT in name["caption"] for card in cards for name in card["names"])
        for row in range(ROWS):
            facts = server.json(f"/api/images/{row}")
            assert facts["key"] == key_of(row)
            assert facts["caption"] == SCRIPT
            assert facts["extra"]["half"] == "\N{REPLACEMENT CHARACTER}"
            assert facts["extra"][SCRIPT] == [SCRIPT, {"deep": SCRIPT}]
            assert server.json("/api/rows", key=facts["key"], shard=facts["shard"]) == [row]
        for path in ("/api/clusters", "/api/images/0", "/api/tree"):
            answer = server.get(path)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "artifacts")
    return tmp_path / "artifacts"


def test_a_vanished_store_is_reported_and_open_files_are_still_served(copied):
    with serve(copied) as server:
        before = server.json("/api/clusters")
        server.json("/api/search", row=3)
        shutil.rmtree(copied)
        server.current.refresh()
        assert server.json("/api/clusters") == before
        assert "no longer holds a run" in server.json("/api/state")["trouble"]
        # Anything else may be gone, which must be reported and never fail as a bug.
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
            answer = server.get(path)
            assert answer.status_code in (200, 404, 503), f"{path}: {answer.text}"


def test_a_run_that_changes_is_opened_again(copied):
    def names(facts):
        return [grouping["name"] for grouping in facts["groupings"]]

    with serve(copied) as server:
        assert names(server.json("/api/run")) == ["k-5", "k-3"]
        generation = server.json("/api/state")["generation"]
        succeed(copied, "assign", "--k", "4")
        wait_until(
            lambda: server.json("/api/state")["generation"] != generation, "the run is opened again"
        )
        facts = server.json("/api/run")
        assert names(facts) == ["k-4"]
        assert not facts["has_captions"]
        assert server.json("/api/clusters/0", grouping="k-4")["card"]["size"]


def test_a_run_whose_record_is_damaged_is_still_served_as_it_was(copied):
    with serve(copied) as server:
        before = server.json("/api/clusters")
        record = copied / "runs" / "default" / "run.json"
        record.write_text(record.read_text()[:50])
        server.current.refresh()
        assert server.json("/api/clusters") == before
        assert "run.json" in server.json("/api/state")["trouble"]


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
def test_damaged_files_are_reported(copied, kind, path, how):
    for file in copied.glob(f"{kind}/*/parts/*"):
        if file.suffix != ".json":
            size = file.stat().st_size
            file.unlink()  # other links to it keep its content
            file.write_bytes({"zeros": b"\0" * size, "cut": b"PAR1\x93NUMPY", "empty": b""}[how])
    with serve(copied) as server:
        answer = server.get(path)
        assert answer.status_code == 503, f"{answer.status_code}: {answer.text[:300]}"
        assert "verify" in answer.json()["detail"]
        assert server.get("/").status_code == 200


@pytest.mark.parametrize("kind", ["embeddings", "features", "index", "assignments"])
def test_truncated_files_do_not_end_a_running_server(copied, kind):
    paths = ["/api/search?row=3", "/api/search?row=3&space=embeddings", "/api/images/3/neighbours"]
    with serve(copied) as server:
        for path in paths:
            assert server.get(path).status_code == 200
        for file in copied.glob(f"{kind}/*/parts/*"):
            if file.suffix != ".json":
                os.truncate(file, file.stat().st_size // 3)
        answers = [server.get(path) for path in [*paths, "/api/clusters/1", "/api/images/50"]]
        assert {answer.status_code for answer in answers} <= {200, 404, 503}
        if kind != "assignments":
            refused = [answer.json()["detail"] for answer in answers if answer.status_code == 503]
            assert refused and all("was changed, it has" in line for line in refused)
        assert server.get("/").status_code == 200


def test_concurrent_clients_get_their_own_answers(served):
    expected = {row: served.json(f"/api/images/{row}") for row in range(20)}
    wrong: list[object] = []

    def ask(worker: int) -> None:
        for step in range(30):
            row = (7 * worker + step) % 20
            answer = served.client.get(f"/api/images/{row}")
            if answer.status_code != 200 or answer.json() != expected[row]:
                wrong.append((row, answer.status_code))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
