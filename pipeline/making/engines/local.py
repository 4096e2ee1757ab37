"""Making parts on this machine: one after another, or in parallel processes, one a GPU."""

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
from ..memory import give_back_freed_memory, keep_freed_memory
from ..worker_progress import forwarded_progress
from .part_maker import PartMaker, in_chunks, in_turn, until_there

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue


def find_device(runtime: Runtime) -> str:
    """A torch device of this machine; ConfigError if the requested one is missing."""
    return device.find_device(runtime.device)


def make_parts(
    stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> list[Part]:
    """Makes the missing parts; any number of processes may do so at once.

    Returns the parts that others are still making; none if the runtime waits for them.
    """
    finished = draft.finished()
    todo = [part for part in in_turn(parts, runtime.worker) if part.name not in finished]
    if not todo:
        return []
    keep_freed_memory()
    gpus = device.count_gpus(runtime.device)
    workers = min(runtime.workers or gpus or 1, len(todo))
    count = threads.free_processors() if stage.is_thread_invariant else threads.processors()
    if workers > 1:
        shares = device.share_out(workers, runtime.device, gpus=gpus, cores=count)
        return make_in_parallel(stage, draft, todo, inputs, runtime, shares)
    maker = PartMaker(stage, draft, inputs, runtime)
    try:
        with threads.limited_to(count):
            return until_there(todo, maker.attempt_all, runtime)
    finally:
        give_back_freed_memory()


def drawer(runtime: Runtime) -> DrawRows | None:
    """None: the process that fits reads the rows of its sample."""
    return None


_worker: dict[str, PartMaker] = {}
"""Kept in a worker process from one part to the next."""


def _start_worker(maker: PartMaker, shares: "SimpleQueue[device.Share]") -> None:
    # Ctrl-C reaches all processes of a terminal: the one that the user started stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    share = shares.get()
    threads.set_threads(share.threads)
    device.settle_on(share.device)
    _worker["maker"] = maker.on(share.device)


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed; it would wait, and hold a model, forever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _attempt_all(parts: Sequence[Part]) -> list[Part]:
    """Makes or finds parts; returns those that other processes are making."""
    return _worker["maker"].attempt_all(parts)


def make_in_parallel(
    stage: Stage,
    draft: Draft,
    todo: Sequence[Part],
    inputs: Inputs,
    runtime: Runtime,
    shares: Sequence[device.Share],
) -> list[Part]:
    """Makes parts in one process per share of this machine; returns those that others hold."""
    devices = dict.fromkeys(share.device for share in shares)
    if len(devices) > 1:
        runtime.progress.report(f"{counted(len(shares), 'process')} on {', '.join(devices)}")
    with forwarded_progress(runtime.progress) as progress:
        maker = PartMaker(stage, draft, inputs, replace(runtime, progress=progress))
        return _in_processes(maker, todo, runtime, shares)


def _in_processes(
    maker: PartMaker, todo: Sequence[Part], runtime: Runtime, shares: Sequence[device.Share]
) -> list[Part]:
    others = active_children()
    context = get_context("spawn")
    # Each process takes one share when it starts. None is started twice, because the pool ends
    # with the first process that dies.
    queue = context.SimpleQueue()
    for share in shares:
        queue.put(share)
    pool = ProcessPoolExecutor(
        len(shares), mp_context=context, initializer=_start_worker, initargs=(maker, queue)
    )
    done = 0

    def attempt_all(parts: Sequence[Part]) -> list[Part]:
        nonlocal done
        held = []
        chunks = in_chunks(parts, len(shares), most=maker.at_once)
        futures = {pool.submit(_attempt_all, chunk): len(chunk) for chunk in chunks}
        for future in as_completed(futures):
            held_now = future.result()
            held.extend(held_now)
            done += futures[future] - len(held_now)
            runtime.progress.parts(done, len(todo))
        return held

    try:
        return until_there(todo, attempt_all, runtime)
    except BrokenProcessPool as error:
        raise StoreError(
            f"a worker process died while making {maker.what} (out of memory?): run the same "
            "command again, with fewer --workers if memory is short; finished parts are kept"
        ) from error
    except KeyboardInterrupt:
        for process in active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
