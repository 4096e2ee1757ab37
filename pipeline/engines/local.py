"""Making parts on this machine: one after another, or side by side in processes."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from ...stages.contract import Inputs, Part, Runtime, Silent, Stage
from ...store import Draft, StoreError
from ..memory import keep_freed_memory


def make_parts(
    stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> None:
    """Makes the parts that are not finished; any number of processes may do so at once."""
    finished = draft.finished()
    todo = [part for part in parts if part.name not in finished]
    if not todo:
        return
    keep_freed_memory()
    if runtime.workers > 1 and len(todo) > 1:
        _side_by_side(stage, draft, todo, inputs, runtime)
    else:
        _one_by_one(stage, draft, todo, inputs, runtime)


def _one_by_one(
    stage: Stage, draft: Draft, todo: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> None:
    prepared = stage.prepare(inputs, runtime)
    held_elsewhere = []
    for part in todo:
        if not _make(stage, draft, part, prepared, inputs, runtime, wait=False):
            held_elsewhere.append(part)
    for part in held_elsewhere:
        _make(stage, draft, part, prepared, inputs, runtime, wait=True)


def _make(
    stage: Stage,
    draft: Draft,
    part: Part,
    prepared: Any,
    inputs: Inputs,
    runtime: Runtime,
    *,
    wait: bool,
) -> bool:
    """Whether the part is there now; False when another process is making it."""
    with draft.claim(part.name, wait=wait) as is_held:
        if not is_held:
            return False
        if draft.find_part(part.name) is None:
            draft.make_part(
                part.name,
                lambda scratch: stage.make(part, prepared, inputs, runtime, scratch),
            )
        return True


_worker: dict[str, Any] = {}
"""What a worker process keeps between its parts."""


def _start_worker(
    stage: Stage, draft: Draft, inputs: Inputs, runtime: Runtime, threads: int
) -> None:
    keep_freed_memory()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    _worker.update(stage=stage, draft=draft, inputs=inputs, runtime=runtime)


def _work(part: Part) -> int:
    """Makes a part in a worker process; returns how many of its samples were skipped."""
    if "prepared" not in _worker:
        _worker["prepared"] = _worker["stage"].prepare(_worker["inputs"], _worker["runtime"])
    _make(
        _worker["stage"],
        _worker["draft"],
        part,
        _worker["prepared"],
        _worker["inputs"],
        _worker["runtime"],
        wait=True,
    )
    record = _worker["draft"].find_part(part.name)
    assert record is not None
    return sum(record.facts.get("skipped", {}).values())


def _side_by_side(
    stage: Stage, draft: Draft, todo: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> None:
    workers = min(runtime.workers, len(todo))
    threads = max(1, (os.cpu_count() or 1) // workers)
    quiet = replace(runtime, progress=Silent())
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(stage, draft, inputs, quiet, threads),
    )
    runtime.progress.start(stage.name, len(todo), "parts")
    try:
        with pool:
            for done in as_completed([pool.submit(_work, part) for part in todo]):
                runtime.progress.advance(1, skipped=done.result())
    except BrokenProcessPool as error:
        raise StoreError(
            f"a worker process died while making {draft.kind.name} (out of memory?): run the same "
            "command again, with fewer --workers where memory is short; finished parts are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
