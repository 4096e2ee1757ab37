"""Rows of a sample, drawn on a Ray cluster: nodes read parts, and send back these rows alone."""

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

_TASKS_A_CPU = 4
"""So that a fast node takes more, and a lost one costs little."""

_MOST_BYTES = 1 << 26
"""In an answer, unless a single part has more."""


@dataclass(frozen=True, kw_only=True)
class RayRows:
    """Draws rows by tasks of a cluster; they are the rows that one machine would read."""

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
        tasks = max(1, _TASKS_A_CPU * round(ray.cluster_resources().get("CPU", 0)))
        # The name groups them on Ray's dashboard, where a bar shows how many are done.
        task = ray.remote(
            name=f"draw {artifact.kind.name}", num_cpus=1, max_retries=ray_cluster.MAX_RETRIES
        )(_draw)
        folder, cwd = anchored(artifact.folder), Path.cwd()
        drawn = np.empty((len(rows), width), np.float16)
        waiting: dict[Any, tuple[int, int]] = {}
        first = 0
        for chunk in _chunks(picks, tasks, _MOST_BYTES // (2 * max(1, width))):
            count = sum(len(numbers) for _, numbers in chunk)
            waiting[task.remote(folder, role, chunk, cwd)] = first, first + count
            first += count
        with ray_cluster.task_errors(ray, f"read {artifact.kind.name}"):
            while waiting:
                (done,), _ = ray.wait(list(waiting))
                first, end = waiting.pop(done)
                drawn[first:end] = ray.get(done)
        return drawn


def _chunks(picks: Picks, tasks: int, most_rows: int) -> list[Picks]:
    """Consecutive parts for each task, of about the same number and with few enough rows."""
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
    """The rows of some parts, on a node."""
    ray_cluster.enter(cwd, folder)
    return gather_picks(_opened(folder), role, picks)


@lru_cache(maxsize=4)
def _opened(folder: StorePath) -> Artifact:
    """An artifact whose manifest is read once in a process."""
    return Artifact(folder)
