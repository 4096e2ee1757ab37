"""Makes parts on this machine: in this process, or in parallel ones, by default one a GPU."""

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import active_children, get_context, parent_process
from typing import TYPE_CHECKING

from ....stages.contract import DrawRows, Inputs, Part, Runtime, Stage
from ....store import Draft, StoreError
from ... import device, threads
from ...wording import counted
from ..memory import keep_freed_memory, release_freed_memory
from ..worker_progress import forwarded_progress
from .part_maker import PartMaker, make_until_complete, order_for_worker, split_into_chunks

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized


def find_device(runtime: Runtime) -> str:
    """A torch device of this machine; ConfigError if the requested one is missing."""
    return device.find_device(runtime.device)


def make_parts(
    stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> list[Part]:
    """Makes the missing parts; any number of processes may work on a draft at once.

    Returns the parts that others are still making; none if the runtime waits for them.
    """
    finished = draft.finished()
    todo = [part for part in order_for_worker(parts, runtime.worker) if part.name not in finished]
    if not todo:
        return []
    keep_freed_memory()
    gpus = device.count_gpus(runtime.device)
    workers = count_workers(runtime, gpus, len(todo))
    count = threads.free_processors() if stage.is_thread_invariant else threads.processors()
    if workers > 1:
        shares = device.divide_machine(workers, runtime.device, gpus=gpus, cores=count)
        return make_in_parallel(stage, draft, todo, inputs, runtime, shares)
    maker = PartMaker(stage, draft, inputs, runtime)
    try:
        with threads.limited_to(count):
            return make_until_complete(todo, maker.attempt_all, runtime)
    finally:
        release_freed_memory()


def count_workers(runtime: Runtime, gpus: int, parts: int) -> int:
    """How many processes make the missing parts of this number; reports if it is fewer than asked.

    By default one for each GPU, or one without a GPU.
    """
    wanted = min(runtime.workers or gpus or 1, parts)
    most = max(gpus, threads.most_processes())
    if wanted > most:
        runtime.progress.report(
            f"{counted(most, 'process')} instead of {wanted:,}: at most {threads.PROCESSES_EACH} "
            "are started for each processor"
        )
    return min(wanted, most)


def drawer(runtime: Runtime) -> DrawRows | None:
    """None: the process that fits reads its sample itself."""
    return None


_worker: dict[str, PartMaker] = {}
"""The maker of a worker process, kept from one part to the next."""


def _start_worker(
    maker: PartMaker, shares: Sequence[device.Share], taken: "Synchronized[int]"
) -> None:
    # Ctrl-C reaches all processes of a terminal; the one that the user started stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    with taken.get_lock():
        share = shares[taken.value]
        taken.value += 1
    threads.set_threads(share.threads)
    device.set_default_device(share.device)
    _worker["maker"] = maker.on(share.device)


def _end_with_parent() -> None:
    """Ends this worker if its parent is killed, or it would wait, with its model, forever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _attempt_all(parts: Sequence[Part]) -> list[Part]:
    """Makes the missing parts in this worker; returns those that other processes are making."""
    return _worker["maker"].attempt_all(parts)


def make_in_parallel(
    stage: Stage,
    draft: Draft,
    todo: Sequence[Part],
    inputs: Inputs,
    runtime: Runtime,
    shares: Sequence[device.Share],
) -> list[Part]:
    """Makes parts in a process for each share of this machine.

    Returns the parts that other processes are still making.
    """
    devices = dict.fromkeys(share.device for share in shares)
    if len(devices) > 1:
        runtime.progress.report(f"{counted(len(shares), 'process')} on {', '.join(devices)}")
    with forwarded_progress(runtime.progress) as progress:
        maker = PartMaker(stage, draft, inputs, replace(runtime, progress=progress))
        return _run_workers(maker, todo, runtime, shares)


def _run_workers(
    maker: PartMaker, todo: Sequence[Part], runtime: Runtime, shares: Sequence[device.Share]
) -> list[Part]:
    other_processes = active_children()
    context = get_context("spawn")
    # Each worker takes one share when it starts. There is one for each, because the pool never
    # replaces a worker that died: it ends. A queue would block once it holds some hundred shares,
    # which nobody takes before the workers start.
    taken = context.Value("i", 0)
    pool = ProcessPoolExecutor(
        len(shares), mp_context=context, initializer=_start_worker, initargs=(maker, shares, taken)
    )
    done = 0

    def attempt_all(parts: Sequence[Part]) -> list[Part]:
        nonlocal done
        held_by_others: list[Part] = []
        chunks = split_into_chunks(parts, len(shares), most=maker.most_at_once)
        sizes = {pool.submit(_attempt_all, chunk): len(chunk) for chunk in chunks}
        for future in as_completed(sizes):
            held_of_chunk = future.result()
            held_by_others.extend(held_of_chunk)
            done += sizes[future] - len(held_of_chunk)
            runtime.progress.parts(done, len(todo))
        return held_by_others

    try:
        return make_until_complete(todo, attempt_all, runtime)
    except BrokenProcessPool as error:
        raise StoreError(
            f"a worker process died while making {maker.kind_name} (out of memory?): run the same "
            "command again, with fewer --workers if memory is short; finished parts are kept"
        ) from error
    except KeyboardInterrupt:
        for process in active_children():
            if process not in other_processes:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
