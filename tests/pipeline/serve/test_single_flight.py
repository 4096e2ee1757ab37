"""Concurrent requests are computed once, and a long decision stops no reader."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cpp_pipe.pipeline.serve import image_sets
from cpp_pipe.pipeline.serve.groups import ImageSets
from cpp_pipe.pipeline.serve.moment_products import moment_products, own_products
from cpp_pipe.pipeline.serve.similarities import Similarities
from cpp_pipe.pipeline.serve.single_flight import SingleFlight

from .server import serve


def test_concurrent_calls_share_a_result_and_later_calls_get_another():
    flight: SingleFlight[int] = SingleFlight()
    calls, entered, gate = [], threading.Event(), threading.Event()

    def work() -> int:
        calls.append(None)
        entered.set()
        assert gate.wait(20)
        return len(calls)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(flight.do, "a", work)
        assert entered.wait(20)
        others = [pool.submit(flight.do, "a", work) for _ in range(6)]
        another = pool.submit(flight.do, "b", lambda: 7)
        assert another.result(20) == 7
        time.sleep(0.2)
        gate.set()
        assert [each.result(20) for each in (first, *others)] == [1] * 7
    assert len(calls) == 1
    assert flight.do("a", work) == 2


def test_an_error_reaches_all_waiting_calls_and_is_not_kept():
    flight: SingleFlight[int] = SingleFlight()
    entered, gate = threading.Event(), threading.Event()

    def fail() -> int:
        entered.set()
        assert gate.wait(20)
        raise KeyError("x")

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(flight.do, "a", fail)
        assert entered.wait(20)
        second = pool.submit(flight.do, "a", fail)
        time.sleep(0.1)
        gate.set()
        for each in (first, second):
            with pytest.raises(KeyError):
                each.result(20)
    assert flight.do("a", lambda: 1) == 1


def test_a_set_requested_twice_at_once_is_computed_once(finished, monkeypatch):
    calls, select = [], image_sets.select

    def slow(*arguments):
        calls.append(arguments[1].model_dump_json())
        time.sleep(0.5)
        return select(*arguments)

    monkeypatch.setattr(image_sets, "select", slow)
    with serve(finished) as server:
        paths = ["/api/set", "/api/set/rows", "/api/set/items", "/api/set"]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda path: server.get(f"{path}?min_confidence=0.1"), paths))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].content == answers[3].content
    # The server warms up by another set.
    assert len([call for call in calls if "0.1" in call]) == 1


def test_a_set_that_failed_is_tried_again():
    sets, tries = ImageSets(), []

    def make():
        tries.append(None)
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011
            sets.get("a", make)
    assert len(tries) == 2


def test_the_log_can_be_read_during_a_long_decision(own_store):
    with serve(own_store, is_editable=True) as server:
        before = server.json("/api/edits")
        gate, entered = threading.Event(), threading.Event()

        def decide(opened):
            entered.set()
            assert gate.wait(20)
            raise ValueError("nothing is decided")

        with ThreadPoolExecutor(1) as pool:
            deciding = pool.submit(server.current.decide, decide)
            assert entered.wait(20)
            began = time.monotonic()
            assert server.json("/api/edits") == before
            assert time.monotonic() - began < 5
            assert not deciding.done()
            gate.set()
            with pytest.raises(ValueError, match="nothing is decided"):
                deciding.result(20)


# Similarities follow decisions.


def test_only_clusters_with_other_rows_are_measured_again():
    generator = np.random.default_rng(0)
    features = generator.standard_normal((40, 6)).astype(np.float32)
    read: list[int] = []

    def read_rows(rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        return features[rows]

    similarities = Similarities(read_rows)
    own = [np.arange(0, 10), np.arange(10, 20), np.arange(20, 40)]
    asked = []

    def sample(rows):
        def find():
            asked.append(None)
            return rows

        return find

    first = similarities.get("decided", 1, sample(own))
    assert similarities.get("decided", 1, sample(own)) is first and len(asked) == 1
    # A name changes no rows.
    assert similarities.get("decided", 2, sample(own)).own.tolist() == first.own.tolist()
    assert read == [40]
    moved = [own[0], np.arange(10, 21), np.arange(21, 40), np.empty(0, np.int64)]
    after = similarities.get("decided", 3, sample(moved))
    assert read == [40, 30]
    expected = [features[rows] for rows in moved]
    np.testing.assert_allclose(after.products, moment_products(expected), rtol=1e-5)
    np.testing.assert_allclose(after.own, own_products(expected), rtol=1e-5)
    fewer = similarities.get("decided", 4, sample(own))
    np.testing.assert_allclose(fewer.products, first.products, rtol=1e-5)
    np.testing.assert_allclose(fewer.own, first.own, rtol=1e-5)
