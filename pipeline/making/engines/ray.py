"""Making parts on a Ray cluster, one task per part. All nodes must reach the store.

A store on a disk must be on a file system that the nodes share; a store in a bucket needs none.
"""

import contextlib
import importlib
import importlib.util
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....stages.contract import Inputs, Part, Runtime, Silent, Stage
from ....store import Artifact, ConfigError, CppPipeError, Draft, StoreError
from ....store.errors import first_line
from ....store.paths import anchored, is_in_bucket
from ... import device
from ...wording import counted
from ..memory import keep_freed_memory
from .part_maker import PartMaker, in_turn, until_there

_MAX_RETRIES = 5
"""For a part whose process or node died; a part that raises is not tried again."""

_MOST_IN_FLIGHT = 1000
"""Tasks submitted at once: more than a cluster runs, and few enough to wait on."""

_KNOCK_SECONDS = 10.0


def require() -> None:
    """ConfigError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray needs Ray: pip install 'cpp-pipe[ray]'")


def find_device(runtime: Runtime) -> str:
    """The torch device of every task: `auto` is a GPU each if the cluster has any."""
    ray = _connect(runtime)
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    resources = ray.cluster_resources()
    gpus = resources.get("GPU", 0)
    runtime.progress.report(
        f"ray: {counted(nodes, 'node')} with {counted(round(resources.get('CPU', 0)), 'CPU')} and "
        f"{counted(round(gpus), 'GPU')}"
    )
    if runtime.device == "auto":
        return "cuda" if gpus else "cpu"
    if runtime.device.startswith("cuda") and not gpus:
        raise ConfigError(f"--device {runtime.device!r}: no node of the Ray cluster has a GPU")
    return runtime.device


def make_parts(
    stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> list[Part]:
    """Makes the missing parts; each task claims and makes one.

    When a node dies, its part is made on another. Returns the parts that others are still making;
    none if the runtime waits for them.
    """
    finished = draft.finished()
    todo = [part for part in in_turn(parts, runtime.worker) if part.name not in finished]
    if not todo:
        return []
    ray = _connect(runtime)
    anchored_draft = Draft(anchored(draft.folder), draft.kind, draft.recipe)
    anchored_inputs = {slot: Artifact(anchored(used.folder)) for slot, used in inputs.items()}
    quiet = replace(runtime, progress=Silent())
    # In a list it stays a reference, so a process opens it once and not for each task.
    shared = [ray.put((stage, anchored_draft, anchored_inputs, quiet, Path.cwd()))]
    # By default a task on a GPU ends its process, and the next task would load the model again.
    task = ray.remote(
        num_cpus=1,
        num_gpus=int(runtime.device.startswith("cuda")),
        max_calls=0,
        max_retries=_MAX_RETRIES,
    )(_attempt)

    def attempt_all(parts: Sequence[Part]) -> list[Part]:
        return _attempt_all(ray, task, shared, parts, runtime)

    runtime.progress.start(stage.name, len(todo), "parts")
    try:
        return until_there(todo, attempt_all, runtime)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CppPipeError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise StoreError(
            f"Ray could not make {draft.kind.name} ({first_line(error)}): run the same command "
            "again; finished parts are kept"
        ) from error


def _connect(runtime: Runtime) -> Any:
    """Ray, connected to the cluster, by the connection of this process if it has one."""
    ray = importlib.import_module("ray")
    if not ray.is_initialized():
        try:
            _knock(runtime.address or "")
            with _keeping_handlers():
                ray.init(address=runtime.address, log_to_driver=False, logging_level="error")
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"--address: no Ray cluster can be reached at {runtime.address!r} "
                f"({first_line(error)}); if the cluster needs a token, set RAY_AUTH_MODE=token"
            ) from error
    return ray


@contextlib.contextmanager
def _keeping_handlers() -> Iterator[None]:
    """Puts handlers of signals back: Ray's ends the driver on SIGTERM, without a word."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # outside the main thread there are no signals
            for number, handler in before.items():
                signal.signal(number, handler)


def _knock(address: str) -> None:
    """OSError if nothing answers at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


def _attempt_all(
    ray: Any, task: Any, shared: list[Any], parts: Sequence[Part], runtime: Runtime
) -> list[Part]:
    """Makes or finds the parts; returns those that others hold."""
    held: list[Part] = []
    waiting = iter(parts)
    running: dict[Any, Part] = {}
    while True:
        for part in waiting:
            running[task.remote(shared, part)] = part
            if len(running) == _MOST_IN_FLIGHT:
                break
        if not running:
            return held
        (done,), _ = ray.wait(list(running))
        part, skipped = running.pop(done), ray.get(done)
        if skipped is None:
            held.append(part)
        else:
            runtime.progress.advance(1, skipped=skipped)


_makers: dict[Any, PartMaker] = {}
"""Kept in a Ray process between its tasks, by the reference to what the tasks share."""


def _attempt(shared: list[Any], part: Part) -> int | None:
    """The number of skipped samples of a part; None while another process is making it."""
    if shared[0] not in _makers:
        _makers.clear()
        _makers[shared[0]] = _open(*importlib.import_module("ray").get(shared[0]))
    record = _makers[shared[0]].attempt(part)
    return None if record is None else sum(record.facts.get("skipped", {}).values())


def _open(stage: Stage, draft: Draft, inputs: Inputs, runtime: Runtime, cwd: Path) -> PartMaker:
    """A maker on this node; StoreError if it does not see the folders of the command."""
    needed = () if is_in_bucket(draft.folder) else (draft.folder.parent.parent, cwd)
    missing = [str(folder) for folder in needed if not folder.is_dir()]
    if missing:
        raise StoreError(
            f"a node of the Ray cluster has no folder {missing[0]}: the store, the shards and the "
            "folder of the command must be on a file system that all nodes share, or the store "
            "and the shards in a bucket"
        )
    if cwd.is_dir():
        os.chdir(cwd)  # so that relative paths mean the same here
    keep_freed_memory()
    runtime = replace(runtime, device=device.find_device(runtime.device))
    return PartMaker(stage, draft, inputs, runtime)
