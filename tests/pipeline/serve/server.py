"""A real run, and a real server over it in a thread of the test process."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.serve.app import make_app
from cpp_pipe.pipeline.serve.open_run import CurrentRun, make_opener
from cpp_pipe.pipeline.serve.preparation import prepare
from cpp_pipe.pipeline.serve.server import make_server
from cpp_pipe.pipeline.serve.server_socket import bind
from cpp_pipe.store import Store

from ...waiting import wait_until
from ..cli import SMALL, embed, succeed

WORDS = "digits-words.txt"


def make_run(store: Path, *shards: Path) -> Path:
    """A run of digits with everything that the page can show."""
    embed(store, *shards)
    succeed(store, "train", *SMALL)
    succeed(store, "spectrum", "--k-max", "12")
    succeed(store, "select-k", "--resamples", "3")
    succeed(store, "hierarchy", "--finest", "8")
    succeed(store, "assign", "--k", "5,3")
    succeed(store, "caption", "--vocabulary", WORDS)
    prepare(open_plan(Common(store=str(store), device="cpu")))
    succeed(store, "map", "--method", "pca")
    return store


@dataclass(frozen=True)
class Served:
    """A running server, and a client for it."""

    client: httpx.Client
    current: CurrentRun
    port: int
    connections: set[Any]
    """Those that are open."""

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """An answer, of any status."""
        return self.client.get(path, params=parameters or None)

    def json(self, path: str, **parameters: Any) -> Any:
        """The JSON of a successful answer."""
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def source_of(self, row: int) -> Path:
        """The path of the shard of a row; the server gives only its name."""
        name = self.json(f"/api/images/{row}")["source"]
        places = map(Path, self.current.opened.run.record.sources.values())
        (path,) = {place for place in places if place.name == name}
        return path


@contextlib.contextmanager
def serve(
    store: Path, *, token: str | None = None, run: str = "default", is_editable: bool = False
) -> Iterator[Served]:
    """A server over a run, on a free port, until the end of the block."""
    current = CurrentRun(make_opener(Store(store), run, "cpu"))
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        server = make_server(make_app(current, token=token, is_editable=is_editable))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the server started", 20)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield Served(client, current, port, server.server_state.connections)
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            current.close()
            assert not thread.is_alive(), "the server did not end"


def connect(port: int) -> socket.socket:
    """A plain TCP connection."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
