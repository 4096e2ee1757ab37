"""Connects to a Ray cluster, checks what its nodes see, and translates its errors."""

import contextlib
import importlib
import importlib.util
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....stages.contract import Runtime
from ....store import ConfigError, StoreError
from ....store.errors import first_line
from ....store.paths import StorePath, is_in_bucket
from ...wording import counted

MAX_RETRIES = 5
"""Of a task whose process or node died; a task that raises is not retried."""

_CONNECT_SECONDS = 10.0


def require() -> None:
    """ConfigError if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray needs Ray: pip install 'cpp-pipe[ray]'")


def find_device(runtime: Runtime) -> str:
    """The torch device of the tasks; `auto` is a GPU for each if the cluster has GPUs."""
    ray = connect(runtime.address)
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


def connect(address: str | None) -> Any:
    """The module `ray`, connected to the cluster; keeps a connection that exists."""
    ray = importlib.import_module("ray")
    if not ray.is_initialized():
        try:
            _require_reachable(address or "")
            with _restored_signal_handlers():
                ray.init(address=address, log_to_driver=False, logging_level="error")
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"--address: no Ray cluster can be reached at {address!r} "
                f"({first_line(error)}); if the cluster needs a token, set RAY_AUTH_MODE=token"
            ) from error
    return ray


@contextlib.contextmanager
def _restored_signal_handlers() -> Iterator[None]:
    """Restores signal handlers at the end: Ray's would end this process on SIGTERM silently."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # outside the main thread there are no signals
            for number, handler in before.items():
                signal.signal(number, handler)


def _require_reachable(address: str) -> None:
    """OSError if nothing answers at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


@contextlib.contextmanager
def task_errors(ray: Any, action: str) -> Iterator[None]:
    """Raises the error of a task as it is; turns failures of the cluster into a StoreError."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ray.exceptions.RayError):
            raise
        # Ray's own error is of the same class, but without the number and the file of an OSError.
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise StoreError(
            f"Ray could not {action} ({first_line(error)}): run the same command again; finished "
            "parts are kept"
        ) from error


def enter(cwd: Path, artifact: StorePath) -> None:
    """Changes to the command's folder; StoreError if this node does not see it or the store."""
    needed = () if is_in_bucket(artifact) else (artifact.parent.parent, cwd)
    missing = [str(folder) for folder in needed if not folder.is_dir()]
    if missing:
        raise StoreError(
            f"a node of the Ray cluster has no folder {missing[0]}: the store, the shards and the "
            "folder of the command must be on a file system that all nodes share, or the store "
            "and the shards in a bucket"
        )
    if cwd.is_dir():
        os.chdir(cwd)  # so that relative paths mean the same here
