"""Parts of `benchmarks.gpu`: start, spectrum and clusters of very many rows, and FAISS."""

import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from .card import Figure, Setup
from .clip_like import cluster_count, read_rows, write_embeddings
from .ten_million import PART_ROWS, Command

ROWS = 10_000_000
LEAST_ROWS = 200_000
BYTES_A_ROW = 3_000
"""On the disk: the made file, the embeddings, the features and the assignments."""
MEMORY_A_ROW = 1_500
"""For pages of files that the next command reads again."""
CPU_S_A_ROW = 250e-6
"""Of a core, for all steps of this part: docs/at-scale.md, and as much again for a memory that all
cores share."""
FIXED_S = 90
"""Imports of each command, and `spectrum`, which works on a sample."""
MOST_PROCESSES = 16
"""That make parts; each holds libraries in memory, and some of the card."""
ENOUGH_S = 15.0
"""A command with less time is not begun."""
FAISS_ROWS, LISTS = 1_000_000, 4096


def affordable_rows(most: int, *, seconds: float, disk: int, memory: int, cores: int) -> int:
    """How many rows time, disk and memory allow; a multiple of `LEAST_ROWS`, and at least that."""
    by_time = (seconds - FIXED_S) * cores / CPU_S_A_ROW
    rows = min(most, by_time, 0.8 * disk / BYTES_A_ROW, memory / MEMORY_A_ROW)
    return max(LEAST_ROWS, int(rows // LEAST_ROWS) * LEAST_ROWS)


def start_spectrum_assign(setup: Setup) -> Iterator[Figure]:
    """Made embeddings through `import`, `train`, `project`, `spectrum` and `assign`."""
    cores = len(os.sched_getaffinity(0))
    rows, part_rows = 600, 200
    if not setup.is_tiny:
        disk = shutil.disk_usage(setup.folder).free
        rows = affordable_rows(
            ROWS,
            seconds=setup.seconds_left,
            disk=disk,
            memory=_free_memory(),
            cores=_workers(cores, setup),
        )
        part_rows = PART_ROWS
        note = "" if rows == ROWS else "what time, disk and memory allow"
        yield Figure(name="rows", value=rows, note=note)
    began = time.perf_counter()
    write_embeddings(setup.folder, rows, part_rows, threads=cores)
    yield _figure("made embeddings", time.perf_counter() - began, rows)
    command = Command(setup.folder / "store")
    on, by = ["--device", setup.device], ["--workers", str(_workers(cores, setup))]
    k = ["--k", str(cluster_count(rows))]
    for name, words in (
        ("import", [str(setup.folder), "--model", "ViT-B-32", *by]),
        ("train", on),
        ("project", [*on, *by]),
        ("spectrum", on),
        ("assign", [*k, *on, *by]),
        ("spectrum, membership", ["--affinity", "membership", *on]),
        ("assign, membership", [*k, *on, *by]),
    ):
        if setup.seconds_left < ENOUGH_S and not setup.is_tiny:
            yield Figure(name=name, note="left out: no time was left")
            continue
        step, _ = command.run(name.partition(",")[0], *words)
        note = f"{step.cpu_seconds:,.0f} s of CPU time, {step.peak_mib:,.0f} MiB"
        yield _figure(name, step.seconds, rows, note)


def _workers(cores: int, setup: Setup) -> int:
    return 1 if setup.is_tiny else min(MOST_PROCESSES, cores)


def _figure(name: str, seconds: float, rows: int, note: str = "") -> Figure:
    told = f"{rows / seconds:,.0f} rows/s"
    return Figure(name=name, value=seconds, unit="s", note="; ".join(filter(None, (told, note))))


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def search_library(setup: Setup) -> Iterator[Figure]:
    """Lists of an index by FAISS on the GPU, beside the CPU."""
    from cpp_pipe.stages.indexing.faiss_library import has_gpu, import_faiss

    has = setup.is_gpu and has_gpu(import_faiss())
    if not has:
        yield Figure(name="FAISS on the GPU", note="left out: faiss-gpu is not installed")
        if setup.is_gpu:
            return
    rows, lists = (2_000, 16) if setup.is_tiny else (FAISS_ROWS, LISTS)
    write_embeddings(setup.folder, rows, min(rows, PART_ROWS), threads=len(os.sched_getaffinity(0)))
    sample = read_rows(setup.folder, rows).astype(np.float16)
    found: dict[str, Any] = {}
    for device in (setup.device, "cpu") if has else ("cpu",):
        seconds, found[device] = _lists(sample, lists, device)
        yield _figure(f"{lists:,} lists of {rows:,} rows, {device}", seconds, rows)
    if has:
        same = float((found[setup.device] == found["cpu"]).mean())
        yield Figure(name="rows in the same list on both", value=same)


def _lists(sample: np.ndarray, lists: int, device: str) -> tuple[float, np.ndarray]:
    """Seconds in which rows find the nearest of given centroids."""
    from cpp_pipe.stages.indexing.centroids import assign_lists, flat_index

    coarse = flat_index(np.ascontiguousarray(sample[:lists], np.float32))
    assign_lists(coarse, sample[:lists], device)
    began = time.perf_counter()
    found = assign_lists(coarse, sample, device)
    return time.perf_counter() - began, found
