"""Independent pieces of work on several threads, with results in order.

A piece has one thread for NumPy's products, which release Python's lock. The pieces are the same
for any number of threads, and so are the results.
"""

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")
U = TypeVar("U")

_worker = threading.local()


def map_in_threads(
    work: Callable[[T], U],
    items: Iterable[T],
    threads: int | None = None,
    *,
    begin: Callable[[], object] = lambda: None,
) -> Iterator[U]:
    """The results of `work` for each item, in order; by default on as many threads as torch uses.

    Items are taken as threads become free, so that blocks are not read far ahead. `begin` is called
    once in each thread. A call within `work` starts no threads of its own.
    """
    if getattr(_worker, "is_one", False):
        yield from map(work, items)
        return
    if threads is None:
        import torch

        threads = torch.get_num_threads()

    def start() -> None:
        _worker.is_one = True
        begin()

    pending: deque[Future[U]] = deque()
    pool = ThreadPoolExecutor(threads, initializer=start)
    # Libraries that limit BLAS for a moment, as scikit-learn does, would restore it out of order.
    with _libraries().limit(limits=1, user_api="blas"):
        try:
            for item in items:
                if len(pending) == 2 * threads:
                    yield pending.popleft().result()
                pending.append(pool.submit(work, item))
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@functools.cache
def _libraries() -> "ThreadpoolController":
    """The loaded BLAS libraries, found once: finding them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
