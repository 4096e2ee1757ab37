"""Clients that do not read their answers cost little memory, and are disconnected."""

import asyncio
import contextlib
import socket
import sys
import time

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from cpp_pipe.pipeline.serve import server as server_module
from cpp_pipe.pipeline.serve.delivery import PIECE_BYTES, Delivery

from ...waiting import wait_until
from .process import start
from .server import connect, serve

READERS = 150

MAX_GROWTH_MIB = 40
"""20 MiB are in the buffers of 150 connections, and the objects of a request need the rest."""

SHARED = ("/openapi.json", "/api/tree", "/api/map/points", "/static/plane/plane.js")
OWN = ("/api/pictures/{}?size=1280", "/api/clusters/0/rows?limit=200", "/api/pictures/{}/original")


MANY = 100
"""Requests sent at once, whose answers are more than the buffers of a connection take."""


def ask(port: int, path: str, token: str = "", times: int = MANY) -> socket.socket:
    """Requests whose answers are not read, on a connection with a small buffer."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    reader.sendall(times * request.encode())
    return reader


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory of a process")
@pytest.mark.parametrize("paths", [SHARED[:1], SHARED, OWN], ids=["same", "shared", "own"])
def test_clients_that_do_not_read_cost_little_memory(finished, paths):
    with start(finished) as server, contextlib.ExitStack() as held:
        for path in paths:
            assert server.client.get(path.format(0)).status_code == 200
        before = server.resident_mib()
        for number in range(READERS):
            path = paths[number % len(paths)].format(number % 60)
            held.enter_context(ask(server.port, path, server.token, times=10))
        grown = 0.0
        for _ in range(20):
            grown = max(grown, server.resident_mib() - before)
            time.sleep(0.1)
        # Everybody else is still served, and quickly.
        began = time.monotonic()
        assert server.client.get("/api/run").status_code == 200
        assert time.monotonic() - began < 5
        assert grown < MAX_GROWTH_MIB, f"{READERS} readers grew it by {grown:.0f} MiB"


def test_clients_that_do_not_read_are_disconnected(finished, monkeypatch):
    monkeypatch.setattr(server_module, "WRITE_SECONDS", 1.0)
    with serve(finished) as server, contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(ask(server.port, "/openapi.json"))
        # Short answers to many requests, sent at once, wait as long ones do.
        pipelined = held.enter_context(ask(server.port, "/static/base.css"))
        pipelined.sendall(200 * b"GET /static/base.css HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert server.get("/api/run").status_code == 200
        assert len(server.connections) == 5
        wait_until(lambda: len(server.connections) == 1, "only the client is left", 20)
        assert server.get("/api/run").status_code == 200


def test_a_slow_client_gets_the_whole_answer(finished, monkeypatch):
    monkeypatch.setattr(server_module, "WRITE_SECONDS", 1.0)
    with serve(finished) as server:
        expected = server.get("/openapi.json").content
        began = time.monotonic()
        with connect(server.port) as bare:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
            request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n"
            bare.sendall(MANY * (request + b"\r\n") + request + b"connection: close\r\n\r\n")
            received = bytearray()
            while piece := bare.recv(2**18):
                received += piece
                time.sleep(0.02)
        assert time.monotonic() - began > 1.5, "longer than WRITE_SECONDS altogether"
        assert bytes(received).count(expected) == MANY + 1


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES - 1])
def test_pieces_add_up_to_the_answer(size):
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert TestClient(Delivery(Response(body))).get("/").content == body


def test_waiting_answers_are_limited_and_shared_ones_count_once():
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run() -> None:
        is_read = asyncio.Event()
        bodies = {"/shared": bytes(80), "/own": bytes(30), "/small": bytes(20), "/huge": bytes(999)}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": bodies[scope["path"]]})

        delivery = Delivery(app, max_waiting_bytes=100, max_requests=5)

        async def get(path: str) -> tuple[int, list[tuple[bytes, bytes]]]:
            start: Message = {}

            async def send(message: Message) -> None:
                nonlocal start
                start = message if message["type"] == "http.response.start" else start
                if start["status"] == 200:
                    await is_read.wait()

            await delivery({"type": "http", "path": path}, receive, send)
            return start["status"], start["headers"]

        readers = [asyncio.create_task(get("/shared")) for _ in range(3)]
        await asyncio.sleep(0)
        code, headers = await get("/own")
        assert code == 503 and (b"retry-after", b"2") in headers
        readers.append(asyncio.create_task(get("/small")))
        readers.append(asyncio.create_task(get("/shared")))
        await asyncio.sleep(0)
        code, _ = await get("/small")
        assert code == 503, "five requests are answered already"
        is_read.set()
        assert [(await reader)[0] for reader in readers] == [200] * 5
        # Nothing waits any more, so that even an answer over the limit is sent.
        assert [(await get(path))[0] for path in ("/own", "/shared", "/huge")] == [200] * 3

    asyncio.run(run())


def test_connections_over_the_limit_get_503_and_retry_after(finished, monkeypatch):
    monkeypatch.setattr(server_module, "_MAX_FILES", 2 * server_module._SPARE_FILES)
    with serve(finished) as server, contextlib.ExitStack() as held:
        for _ in range(240):
            held.enter_context(connect(server.port))
        late = held.enter_context(connect(server.port))
        late.sendall(b"GET /api/state HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = late.recv(4096).decode().lower()
        assert answer.startswith("http/1.1 503") and "retry-after: " in answer
        held.close()
        wait_until(lambda: server.get("/api/state").status_code == 200, "there is room again", 20)


def test_the_body_of_an_answer_follows_its_headers_without_delay(served):
    """Waiting takes 40 ms on Linux, because it collects small pieces (Nagle's algorithm)."""
    served.json("/api/state")
    connections = list(served.connections)
    assert connections
    for connection in connections:
        option = connection.transport.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY
        )
        assert option, "small pieces are collected"
