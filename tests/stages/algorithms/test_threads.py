"""Pieces of work on several threads."""

import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from cpp_pipe.stages.algorithms.clustering.kmeans import breathing_kmeans
from cpp_pipe.stages.algorithms.threads import map_in_threads


def test_results_come_in_the_order_of_the_items() -> None:
    turn = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert turn.wait(30), "the second item never ran beside the first"
        turn.set()
        return item

    assert list(map_in_threads(work, range(5), 2)) == [0, 1, 2, 3, 4]


def test_items_are_taken_as_threads_become_free() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = map_in_threads(lambda item: item, items(), 2)
    next(results)
    assert len(taken) <= 6
    del results


def test_a_call_within_a_piece_starts_no_threads() -> None:
    def outer(_: int) -> tuple[int, list[int]]:
        return threading.get_ident(), list(map_in_threads(lambda _: threading.get_ident(), [0], 2))

    for own, inner in map_in_threads(outer, range(3), 2):
        assert inner == [own]


def test_an_error_reaches_the_caller_and_blas_has_its_threads_again() -> None:
    before = [library["num_threads"] for library in threadpool_info()]

    def fail(item: int) -> int:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        list(map_in_threads(fail, range(3), 2))
    assert [library["num_threads"] for library in threadpool_info()] == before


def limit_blas(threads: int) -> None:
    """Sets the threads of BLAS, in a thread that ends, so that others can set them again."""
    thread = threading.Thread(target=threadpool_limits, args=(threads, "blas"))
    thread.start()
    thread.join()


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_until_the_last_of_overlapping_calls_ends() -> None:
    """Each call restored what it found, so that two models fitted in threads slowed all else."""
    with threadpool_limits(1, "blas"):
        pass  # this thread no longer holds a limit of another test
    before = max(blas_threads())
    limit_blas(2)
    given = blas_threads()  # some libraries count the threads of each thread
    assert max(given) == 2
    try:
        first, second = (map_in_threads(abs, range(9), 2) for _ in range(2))
        assert isinstance(first, Generator) and isinstance(second, Generator)
        with ThreadPoolExecutor(1) as other:
            assert next(first) == other.submit(next, second).result() == 0
            assert set(blas_threads()) == {1}
            first.close()
            assert set(blas_threads()) == {1}, "the second is at work"
            other.submit(second.close).result()
            assert blas_threads() == given
    finally:
        limit_blas(before)


def test_a_library_that_is_loaded_later_is_limited_too() -> None:
    """SciPy's own BLAS was not, if NumPy's had been limited before."""
    script = """
import numpy, threadpoolctl
from cpp_pipe.stages.algorithms.threads import map_in_threads
def blas(item):
    pools = threadpoolctl.threadpool_info()
    return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
before, = map_in_threads(blas, [0], 2)
import scipy.linalg
after, = map_in_threads(blas, [0], 2)
print(before, after)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = run.stdout.split("] [")
    assert set(before.strip("[")) == {"1"} and set(after.strip("]\n")) <= set("1, ")


def test_clusters_do_not_depend_on_the_number_of_threads() -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 32), dtype=np.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(breathing_kmeans(rows, 600, 0))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)
