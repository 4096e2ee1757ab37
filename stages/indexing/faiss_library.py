"""FAISS: imported on demand, and used so that results do not depend on the number of threads."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ...store import MissingError
from ...store.residency import held_while_open
from ..algorithms import threads

T = TypeVar("T")
U = TypeVar("U")


def import_faiss() -> Any:
    """The module `faiss`; MissingError says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise MissingError(
            "FAISS is not installed: pip install 'cpp-pipe[cpu]', or 'cpp-pipe[gpu]' on a machine "
            "with CUDA, never both; `search` works without it, exact and slower"
        ) from error
    return faiss


def write_index(index: Any, path: Path) -> None:
    """Writes an index; OSError if the disk refuses, which FAISS itself would not report as such.

    Python opens the file, because FAISS on Windows knows only names of the system's code page.
    """
    faiss = import_faiss()
    refusals: list[OSError] = []
    with path.open("wb") as file:

        def write(piece: bytes) -> None:
            try:
                if not refusals:
                    file.write(piece)
            except OSError as error:
                refusals.append(error)

        faiss.write_index(index, faiss.PyCallbackIOWriter(write))
        if refusals:
            raise refusals[0]


def read_index(path: Path, flag: int, *, is_mapped: bool = sys.platform != "win32") -> Any:
    """An index, memory-mapped if FAISS can do so."""
    faiss = import_faiss()
    if is_mapped:
        return held_while_open(path, lambda: faiss.read_index(str(path), flag))
    with path.open("rb") as file:
        return faiss.read_index(faiss.PyCallbackIOReader(file.read))


@contextlib.contextmanager
def one_thread(faiss: Any) -> Iterator[None]:
    """Restricts FAISS to the calling thread, so that sums and graphs are the same everywhere."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def map_in_threads(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """The results of `work` for each item, in order; threads work on several items at a time.

    Each item has one thread: a matrix product shared by several may round differently for another
    number of them.
    """
    faiss = import_faiss()
    count = faiss.omp_get_max_threads()
    yield from threads.map_in_threads(
        work, items, count, begin=lambda: faiss.omp_set_num_threads(1)
    )


def on_gpu(faiss: Any, index: Any, device: str) -> Any | None:
    """A copy of an index on a CUDA device; None without a GPU, or if FAISS cannot use it."""
    if not device.startswith("cuda") or not has_gpu(faiss):
        return None
    number = int(device.partition(":")[2] or 0)
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, index)


def has_gpu(faiss: Any) -> bool:
    """Whether this build of FAISS supports GPUs and finds one."""
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
