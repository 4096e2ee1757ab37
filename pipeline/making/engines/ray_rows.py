"""Reads the rows of a sample on a Ray cluster: nodes read parts, and send only these rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ....stages.contract import Progress
from ....stages.rows.sampled_rows import Picks, gather_picks, split_by_part, width_of
from ....store import Artifact
from ....store.paths import StorePath, anchored
from ...wording import counted
from . import ray_cluster

_TASKS_PER_CPU = 4
"""Several, so that a fast node takes more tasks, and a lost node costs little."""

_MOST_BYTES = 1 << 26
"""Of a task's answer, unless a single part has more."""


@dataclass(frozen=True, kw_only=True)
class RayRows:
    """Reads rows by tasks of a cluster; the rows are those that one machine would read."""

    address: str | None
    progress: Progress

    def __call__(self, artifact: Artifact, role: str, rows: np.ndarray) -> np.ndarray:
        """The float16 rows of a role, by their ascending numbers over all parts."""
        ray = ray_cluster.connect(self.address)
        picks, width = list(split_by_part(artifact, rows)), width_of(artifact, role)
        self.progress.report(
            f"ray: draws {counted(len(rows), 'row')} from {counted(len(picks), 'part')} of "
            f"{artifact.kind.name}"
        )
        tasks = max(1, _TASKS_PER_CPU * round(ray.cluster_resources().get("CPU", 0)))
        # The name groups the tasks on Ray's dashboard.
        task = ray.remote(
            name=f"draw {artifact.kind.name}", num_cpus=1, max_retries=ray_cluster.MAX_RETRIES
        )(_draw)
        folder, cwd = anchored(artifact.folder), Path.cwd()
        values = np.empty((len(rows), width), np.float16)
        running: dict[Any, tuple[int, int]] = {}
        first = 0
        for chunk in _split_into_chunks(picks, tasks, _MOST_BYTES // (2 * max(1, width))):
            count = sum(len(numbers) for _, numbers in chunk)
            running[task.remote(folder, role, chunk, cwd)] = first, first + count
            first += count
        with ray_cluster.task_errors(ray, f"read {artifact.kind.name}"):
            while running:
                (done,), _ = ray.wait(list(running))
                first, end = running.pop(done)
                values[first:end] = ray.get(done)
        return values


def _split_into_chunks(picks: Picks, tasks: int, most_rows: int) -> list[Picks]:
    """Consecutive parts for each task: about equally many, and not too many rows."""
    most_parts = -(-len(picks) // tasks)
    chunks: list[list[tuple[str, np.ndarray]]] = []
    rows = 0
    for pick in picks:
        rows += len(pick[1])
        if not chunks or len(chunks[-1]) == most_parts or rows > most_rows:
            chunks.append([])
            rows = len(pick[1])
        chunks[-1].append(pick)
    return list[Picks](chunks)


def _draw(
    folder: StorePath, role: str, picks: Sequence[tuple[str, np.ndarray]], cwd: Path
) -> np.ndarray:
    """The picked rows, read by a task on a node."""
    ray_cluster.enter(cwd, folder)
    return gather_picks(_open_artifact(folder), role, picks)


@lru_cache(maxsize=4)
def _open_artifact(folder: StorePath) -> Artifact:
    """An artifact, whose manifest a process reads only once."""
    return Artifact(folder)
