"""Making parts on a Ray cluster whose nodes all reach the store: a task a part.

A store on a disk lies on a file system that they share; one in a bucket needs none.
"""

import importlib
import importlib.util
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....stages.contract import Inputs, Part, Runtime, Silent, Stage
from ....store import Artifact, ConfigError, CppPipeError, Draft, StoreError
from ....store.paths import anchored, is_in_bucket
from ... import device
from ..memory import keep_freed_memory
from .part_maker import PartMaker, in_turn, until_there

_MAX_RETRIES = 5
"""Of a part whose process or node died; a part that raises is not tried again."""

_MOST_IN_FLIGHT = 1000
"""Tasks that Ray knows of at once: more than a cluster runs, and few enough to wait on."""

_KNOCK_SECONDS = 10.0


def require() -> None:
    """ConfigError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray needs Ray: pip install 'cpp-pipe[ray]'")


def find_device(runtime: Runtime) -> str:
    """The torch device of every task: `auto` is a GPU for each where the cluster has any."""
    ray = _connect(runtime)
    nodes = sum(bool(one["Alive"]) for one in ray.nodes())
    has = ray.cluster_resources()
    gpus = has.get("GPU", 0)
    runtime.progress.tell(f"ray: {nodes} nodes with {has.get('CPU', 0):g} CPUs and {gpus:g} GPUs")
    if runtime.device == "auto":
        return "cuda" if gpus else "cpu"
    if runtime.device.startswith("cuda") and not gpus:
        raise ConfigError(f"--device {runtime.device!r}: no node of the Ray cluster has a GPU")
    return runtime.device


def make_parts(
    stage: Stage, draft: Draft, parts: Sequence[Part], inputs: Inputs, runtime: Runtime
) -> list[Part]:
    """Makes the parts that are not finished; each task claims and makes one.

    A part is made again elsewhere when its node dies. Returns the parts that others are still
    making, none where the runtime waits for them.
    """
    finished = draft.finished()
    todo = [part for part in in_turn(parts, runtime.worker) if part.name not in finished]
    if not todo:
        return []
    ray = _connect(runtime)
    there = Draft(anchored(draft.folder), draft.kind, draft.recipe)
    found = {kind: Artifact(anchored(one.folder)) for kind, one in inputs.items()}
    quiet = replace(runtime, progress=Silent())
    # In a list it stays a reference: a process opens it once, and not for each of its tasks.
    shared = [ray.put((stage, there, found, quiet, Path.cwd()))]
    # A task on a GPU would otherwise end its process, and the next one load the model anew.
    task = ray.remote(
        num_cpus=1,
        num_gpus=int(runtime.device.startswith("cuda")),
        max_calls=0,
        max_retries=_MAX_RETRIES,
    )(_attempt)

    def attempt_all(some: Sequence[Part]) -> list[Part]:
        return _attempt_all(ray, task, shared, some, runtime)

    runtime.progress.start(stage.name, len(todo), "parts")
    try:
        return until_there(todo, attempt_all, runtime)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CppPipeError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise StoreError(
            f"Ray could not make {draft.kind.name} ({_first_line(error)}): run the same command "
            "again; finished parts are kept"
        ) from error


def _connect(runtime: Runtime) -> Any:
    """Ray, connected to the cluster; a connection that this process has is used."""
    ray = importlib.import_module("ray")
    if not ray.is_initialized():
        try:
            _knock(runtime.address or "")
            ray.init(address=runtime.address, log_to_driver=False, logging_level="error")
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"--address {runtime.address!r} is no Ray cluster that can be reached: "
                f"{_first_line(error)}; where it asks for a token, set RAY_AUTH_MODE=token"
            ) from error
    return ray


def _knock(address: str) -> None:
    """OSError where nobody answers at host:port, which Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


def _attempt_all(
    ray: Any, task: Any, shared: list[Any], parts: Sequence[Part], runtime: Runtime
) -> list[Part]:
    """Those of the parts that others hold; all others are there."""
    held: list[Part] = []
    waiting = iter(parts)
    asked: dict[Any, Part] = {}
    while True:
        for part in waiting:
            asked[task.remote(shared, part)] = part
            if len(asked) == _MOST_IN_FLIGHT:
                break
        if not asked:
            return held
        (done,), _ = ray.wait(list(asked))
        part, skipped = asked.pop(done), ray.get(done)
        if skipped is None:
            held.append(part)
        else:
            runtime.progress.advance(1, skipped=skipped)


_made: dict[Any, PartMaker] = {}
"""What a process of Ray keeps between its tasks, by the reference to what they share."""


def _attempt(shared: list[Any], part: Part) -> int | None:
    """How many samples of a part were skipped; None while another process is making it."""
    if shared[0] not in _made:
        _made.clear()
        _made[shared[0]] = _open(*importlib.import_module("ray").get(shared[0]))
    record = _made[shared[0]].attempt(part)
    return None if record is None else sum(record.facts.get("skipped", {}).values())


def _open(stage: Stage, draft: Draft, inputs: Inputs, runtime: Runtime, cwd: Path) -> PartMaker:
    """A maker on this node; StoreError where it does not see the folders of the command."""
    needed = () if is_in_bucket(draft.folder) else (draft.folder.parent.parent, cwd)
    absent = [str(folder) for folder in needed if not folder.is_dir()]
    if absent:
        raise StoreError(
            f"a node of the Ray cluster has no folder {absent[0]}: the store, the shards and the "
            "folder of the command must lie on a file system that all nodes share, or the store "
            "and the shards in a bucket"
        )
    if cwd.is_dir():
        os.chdir(cwd)  # what is named relative to it means the same here
    keep_freed_memory()
    runtime = replace(runtime, device=device.find_device(runtime.device))
    return PartMaker(stage, draft, inputs, runtime)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
