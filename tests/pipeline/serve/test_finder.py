"""A search in a server opens indexes without delaying other answers."""

import threading

import httpx
import numpy as np

from cpp_pipe.pipeline.run import Run
from cpp_pipe.pipeline.serve.finder import encode_vector

from .server import serve


def test_other_answers_do_not_wait_for_a_search_to_open_its_index(finished, monkeypatch):
    """Opening an index in a bucket copies it whole first."""
    opening, may_open = threading.Event(), threading.Event()
    open_searcher = Run.searcher

    def open_slowly(run, space):
        opening.set()
        may_open.wait(20)
        return open_searcher(run, space)

    monkeypatch.setattr(Run, "searcher", open_slowly)
    features = Run.open(finished).artifact("features")
    vector = encode_vector(np.asarray(features.array(features.parts[0].name, "z")[[3]]))
    found: list[httpx.Response] = []
    with serve(finished) as server:
        search = threading.Thread(
            target=lambda: found.append(server.get("/api/search", vector=vector))
        )
        search.start()
        try:
            assert opening.wait(20)
            assert server.client.get("/api/state", timeout=10).status_code == 200
        finally:
            may_open.set()
            search.join(20)
    assert found[0].json()["hits"][0]["row"] == 3
