"""Parts made at the same time: begun in order, ended together."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from cpp_pipe.pipeline.making.engines.overlap import make_overlapping
from cpp_pipe.pipeline.making.engines.part_maker import split_into_chunks
from cpp_pipe.stages.contract import Part, Runtime
from cpp_pipe.store import ShardError


def record_of(part) -> Any:
    """A stand-in for the record of a part: its name."""
    return part.name


def parts(count):
    return [Part(name=f"{number:03d}", sources={}) for number in range(count)]


class Counts:
    """How many parts run now, and the most at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = 0
        self.most = 0
        self.begun = []

    def enter(self, part):
        with self.lock:
            self.begun.append(part.name)
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self):
        with self.lock:
            self.now -= 1


def test_parts_that_never_begin_the_next_are_made_one_by_one():
    counts = Counts()

    def attempt(part, runtime):
        counts.enter(part)
        time.sleep(0.002)
        counts.leave()
        return record_of(part)

    made = list(make_overlapping(parts(20), attempt, Runtime()))
    assert [record for _, record in made] == [part.name for part in parts(20)]
    assert counts.most == 1


def test_each_part_begins_the_next_in_order_and_the_last_begins_none():
    counts, follows = Counts(), {}
    barrier = threading.Barrier(20, timeout=20)

    def attempt(part, runtime):
        counts.enter(part)
        follows[part.name] = runtime.begin_next(), runtime.begin_next()
        barrier.wait()
        counts.leave()
        return record_of(part)

    made = list(make_overlapping(parts(20), attempt, Runtime()))
    assert sorted(str(record) for _, record in made) == [part.name for part in parts(20)]
    assert counts.begun == [part.name for part in parts(20)]
    assert counts.most == 20
    assert list(follows.values()) == [(True, True)] * 19 + [(False, False)]


def test_the_number_of_parts_that_run_is_bounded():
    counts = Counts()

    def attempt(part, runtime):
        counts.enter(part)
        runtime.begin_next()
        time.sleep(0.01)
        counts.leave()
        return record_of(part)

    assert len(list(make_overlapping(parts(300), attempt, Runtime()))) == 300
    assert 1 < counts.most <= 64


def test_after_an_error_earlier_parts_finish_and_later_ones_stop():
    begun, ended = threading.Event(), []

    def attempt(part, runtime):
        runtime.begin_next()
        if part.name == "001":
            begun.wait()
            raise ShardError("001 was changed")
        if part.name == "002":
            begun.set()
        try:
            for _ in range(30 if part.name == "000" else 100_000):
                time.sleep(0.01)
                runtime.progress.advance(1)
        finally:
            ended.append(part.name)
        return record_of(part)

    attempts = make_overlapping(parts(5), attempt, Runtime())
    assert str(next(attempts)[1]) == "000"
    with pytest.raises(ShardError, match="001 was changed"):
        next(attempts)
    assert {"000", "002"} <= set(ended)


def test_closing_early_stops_the_parts_that_run():
    ended = threading.Event()

    def attempt(part, runtime):
        runtime.begin_next()
        if part.name == "000":
            return record_of(part)
        try:
            while True:
                time.sleep(0.005)
                runtime.progress.advance(1)
        finally:
            ended.set()

    attempts = make_overlapping(parts(2), attempt, replace(Runtime()))
    assert str(next(attempts)[1]) == "000"
    attempts.close()
    assert ended.is_set()


@pytest.mark.parametrize(("count", "workers"), [(0, 2), (1, 4), (96, 2), (1000, 8), (10_000, 8)])
def test_chunks_hold_every_part_once_in_order_and_end_small(count, workers):
    todo = parts(count)
    chunks = split_into_chunks(todo, workers, most=16)
    assert [part for chunk in chunks for part in chunk] == todo
    sizes = [len(chunk) for chunk in chunks]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size == 1 for size in sizes[-workers:])
    assert all(len(chunk) == 1 for chunk in split_into_chunks(todo, workers, most=1))
