"""FAISS: found or told how to install, and used so that no result depends on how many threads."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ...store import MissingError

T = TypeVar("T")
U = TypeVar("U")


def import_faiss() -> Any:
    """The module `faiss`; MissingError says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise MissingError(
            "no FAISS is installed: pip install 'cpp-pipe[cpu]', or 'cpp-pipe[gpu]' on a machine "
            "with CUDA, never both; `search` works without it, exact and slower"
        ) from error
    return faiss


@contextlib.contextmanager
def one_thread(faiss: Any) -> Iterator[None]:
    """Keeps FAISS to the thread that calls it: sums and graphs come out the same everywhere."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def side_by_side(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """What `work` gives for each item, in order; each is worked on by one thread, several at once.

    A product of matrices that threads share may round in another way for another number of them.
    Items are taken when there is a thread for them, so that blocks are not read far ahead.
    """
    faiss = import_faiss()
    threads = faiss.omp_get_max_threads()
    waiting: deque[Future[U]] = deque()
    with ThreadPoolExecutor(threads, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
        for item in items:
            if len(waiting) == 2 * threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()


def on_gpu(faiss: Any, index: Any, device: str) -> Any | None:
    """A copy of an index on a CUDA device; None where the device is no GPU, or FAISS knows none."""
    if not device.startswith("cuda") or not has_gpu(faiss):
        return None
    number = int(device.partition(":")[2] or 0)
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, index)


def has_gpu(faiss: Any) -> bool:
    """Whether this build of FAISS can use a GPU, and finds one."""
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
