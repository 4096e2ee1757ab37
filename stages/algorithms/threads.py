"""Independent pieces of work on several threads, with results in order.

A piece has one thread for NumPy's products, which release Python's lock. The pieces are the same
for any number of threads, and so are the results.
"""

import contextlib
import functools
import sys
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
    with _limit.held():
        try:
            for item in items:
                if len(pending) == 2 * threads:
                    yield pending.popleft().result()
                pending.append(pool.submit(work, item))
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Limit:
    """Gives BLAS a single thread until the last of all overlapping blocks is left, in any thread.

    Libraries that limit BLAS for a moment, as scikit-learn does, would restore it out of order. So
    would blocks that each restore what they found: the first to leave would give BLAS its threads
    back while others work, and the last would leave it with one for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a generator may be collected while it is held
        self._inside = 0
        self._owner = threading.current_thread()
        """The thread that set the limit: others can't change it while this one lives."""

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The block in which BLAS has one thread."""
        with self._lock:
            if not self._inside:
                self._set()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                is_own = threading.current_thread() is self._owner
                if is_own:
                    self._limiter.__exit__(None, None, None)
                elif not self._inside:
                    _in_short_thread(self._limiter.restore_original_limits)
                if is_own and self._inside:
                    _in_short_thread(self._set)

    def _set(self) -> None:
        self._limiter = _libraries(len(sys.modules)).limit(limits=1, user_api="blas").__enter__()
        self._owner = threading.current_thread()


_limit = _Limit()


def _in_short_thread(act: Callable[[], object]) -> None:
    """Calls `act` in a thread that ends at once."""
    if sys.is_finalizing():  # nothing computes any more, and a new thread would wait forever
        return
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


@functools.lru_cache(maxsize=1)
def _libraries(modules: int) -> "ThreadpoolController":
    """The BLAS libraries that are loaded together with so many modules.

    Finding them takes milliseconds, and SciPy brings one of its own.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
