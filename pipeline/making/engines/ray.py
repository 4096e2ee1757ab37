"""Makes parts on a Ray cluster, one task per part.

All nodes must reach the store: a bucket, or a folder on a file system that the nodes share.
"""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....stages.contract import DrawRows, Inputs, Part, Runtime, Silent, Stage
from ....store import Artifact, Draft
from ....store.paths import anchored
from ... import device
from ..memory import keep_freed_memory
from . import ray_cluster
from .part_maker import PartMaker, make_until_complete, order_for_worker
from .ray_cluster import find_device as find_device
from .ray_rows import RayRows

_MOST_IN_FLIGHT = 1000
"""Tasks submitted at once: more than a cluster runs, and few enough to wait on."""


def make_parts(
    stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> list[Part]:
    """Makes the missing parts; each task claims and makes one.

    If a node dies, another node makes its part. Returns the parts that others are still making;
    none if the runtime waits for them.
    """
    finished = draft.finished()
    todo = [part for part in order_for_worker(parts, runtime.worker) if part.name not in finished]
    if not todo:
        return []
    ray = ray_cluster.connect(runtime.address)
    anchored_draft = Draft(anchored(draft.folder), draft.kind, draft.recipe)
    anchored_inputs = {slot: Artifact(anchored(used.folder)) for slot, used in inputs.items()}
    # A task that samples reads its rows by further tasks.
    draw = RayRows(address=None, progress=Silent())
    task_runtime = replace(runtime, progress=Silent(), draw=draw)
    # In a list it stays a reference, so a process fetches it once and not for each task.
    shared = [ray.put((stage, anchored_draft, anchored_inputs, task_runtime, Path.cwd()))]
    # Without max_calls=0 a process with a GPU would end after one task, and the next task would
    # load the model again. The name groups the tasks on Ray's dashboard.
    task = ray.remote(
        name=stage.name,
        num_cpus=1,
        num_gpus=int(runtime.device.startswith("cuda")),
        max_calls=0,
        max_retries=ray_cluster.MAX_RETRIES,
    )(_attempt)

    def attempt_all(parts: Sequence[Part]) -> list[Part]:
        return _attempt_all(ray, task, shared, parts, runtime)

    runtime.progress.start(stage.name, len(todo), "parts")
    with ray_cluster.task_errors(ray, f"make {draft.kind.name}"):
        return make_until_complete(todo, attempt_all, runtime)


def drawer(runtime: Runtime) -> DrawRows:
    """Reads the rows that a fit samples by tasks on the cluster."""
    return RayRows(address=runtime.address, progress=runtime.progress)


def _attempt_all(
    ray: Any, task: Any, shared: list[Any], parts: Sequence[Part], runtime: Runtime
) -> list[Part]:
    """Makes the missing parts; returns those that other processes are making."""
    held_by_others: list[Part] = []
    waiting = iter(parts)
    running: dict[Any, Part] = {}
    while True:
        for part in waiting:
            running[task.remote(shared, part)] = part
            if len(running) == _MOST_IN_FLIGHT:
                break
        if not running:
            return held_by_others
        (done,), _ = ray.wait(list(running))
        part, skipped = running.pop(done), ray.get(done)
        if skipped is None:
            held_by_others.append(part)
        else:
            runtime.progress.advance(1, skipped=skipped)


_makers: dict[Any, PartMaker] = {}
"""The maker of a Ray process, kept between tasks, by the reference to what they share."""


def _attempt(shared: list[Any], part: Part) -> int | None:
    """The number of skipped samples of a part; None if another process is making it."""
    (reference,) = shared
    if reference not in _makers:
        _makers.clear()
        _makers[reference] = _open_maker(*importlib.import_module("ray").get(reference))
    record = _makers[reference].attempt(part)
    return None if record is None else sum(record.facts.get("skipped", {}).values())


def _open_maker(
    stage: Stage, draft: Draft, inputs: Inputs, runtime: Runtime, cwd: Path
) -> PartMaker:
    """The maker of this process; StoreError if the node does not see the command's folders."""
    ray_cluster.enter(cwd, draft.folder)
    keep_freed_memory()
    runtime = replace(runtime, device=device.find_device(runtime.device))
    return PartMaker(stage, draft, inputs, runtime)
