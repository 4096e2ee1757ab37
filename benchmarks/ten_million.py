"""Everything after the embeddings, through the real commands: seconds, memory, bytes, by step.

    python -m benchmarks.ten_million                    # 100,000 rows: 1 GB of disk, minutes
    python -m benchmarks.ten_million --rows 1000000     # 6 GB of disk
    python -m benchmarks.ten_million --rows 10000000 --store ten   # 60 GB; keeps the store
    python -m benchmarks.ten_million --part-rows 10     # 10,000 parts: what each part costs

Embeddings are made: `benchmarks.clip_like`. Each command runs in a process of its own, with its
imports; its memory is the peak of that process, mapped files included. `rows/s a core` divides the
rows by the CPU seconds. Beside each step stands what one would write without cpp-pipe, at a number
of rows that it can do (`benchmarks.plain_ways`); its µs are for each row, in wall seconds like
ours. `query` is a search in the open index, from one thread.

The server gets fifty clients, as in `benchmarks.serve`; imported rows have no images, so thumbnails
are left out.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .clip_like import cluster_count, read_planted, write_embeddings
from .measure import argument_parser, machine, parse_arguments, result_and_peak
from .plain_ways import PLAIN, SIMILARITY
from .serve import RUN, Peaks, cpu_seconds, load, ms, served, status_mib

PART_ROWS = 100_000
QUERIES = 200
LOOK_S = 0.02
"""Between two looks at the memory of a command."""
STEPS: dict[str, tuple[str, ...]] = {
    "import": ("embeddings",),
    "train": ("heads",),
    "project": ("features",),
    "spectrum": ("spectrum",),
    "select-k": ("k_curve",),
    "assign": ("assignments",),
    "hierarchy": ("hierarchy",),
    "index": ("index/features", "index/embeddings"),
    "search": (),
    "duplicates": ("duplicates",),
    "map": ("projection",),
    "status": (),
    "lineage": (),
    "verify": (),
    "verify --quick": (),
    "gc": (),
}
"""Commands, in order, and the slots that each fills."""
FLAGS = {
    "search": ["--key", "img_emb_00000.npy:{key}"],
    "duplicates": ["--above", str(SIMILARITY)],
    "map": ["--no-sprites"],
    "lineage": ["assignments"],
}
QUICK = ("status", "lineage", "verify --quick", "gc")
MOST_MIB, MOST_QUICK_S, LEAST_ASSIGN, LEAST_FOUND = 6 * 1024, 5.0, 20_000, 0.95
MOST_FIRST_PAGE_S, MOST_P95_MS, MOST_SERVE_MIB = 2.0, 150.0, 1024
MINUTES = 90
"""For ten million rows, from import to map."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a command took."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    mib: float = 0.0
    """Of the artifacts that it made."""


class Command(NamedTuple):
    """A command over the benchmark's store."""

    store: Path

    def run(self, *words: str) -> tuple[Step, str]:
        """Runs it; what it took, and what it printed."""
        line = [sys.executable, "-m", "cpp_pipe", *words, "--run", RUN, "--store", str(self.store)]
        if words[0] in ("status", "verify", "gc"):
            line = [word for word in line if word not in ("--run", RUN)]
        began = time.perf_counter()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(line, stdout=out, stderr=err, text=True)
            # What wait4 says of memory includes ours, from before the process became another.
            peak = 0.0
            while True:
                with contextlib.suppress(OSError, AssertionError):  # a process that has just ended
                    peak = max(peak, status_mib(process.pid, "VmHWM"))
                ended, code, used = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    break
                time.sleep(LOOK_S)
            process.returncode = os.waitstatus_to_exitcode(code)
            seconds = time.perf_counter() - began
            out.seek(0)
            err.seek(0)
            if process.returncode:
                sys.exit(f"{' '.join(line)} failed:\n{err.read()}")
            printed = out.read()
        cpu = used.ru_utime + used.ru_stime
        return Step(seconds=seconds, cpu_seconds=cpu, peak_mib=peak), printed

    def mib_of(self, slots: Sequence[str]) -> float:
        """MiB of what the run holds in some slots."""
        held = json.loads(self.run("status", "--json")[1])[RUN]
        return sum(row["bytes"] for row in held if row["slot"] in slots) / 2**20


def measure_steps(folder: Path, part_rows: int) -> Iterator[tuple[str, Step]]:
    """Each command, and what it took."""
    command = Command(folder / "store")
    digits = len(str(part_rows - 1))
    for name, slots in STEPS.items():
        flags = [flag.format(key="0" * digits) for flag in FLAGS.get(name, [])]
        if name == "import":
            flags = [str(folder), "--model", "ViT-B-32", "--workers", str(os.cpu_count())]
        step, _ = command.run(*name.split(), *flags)
        yield name, Step(**{**asdict(step), "mib": command.mib_of(slots) if slots else 0.0})


def clusters_found(folder: Path) -> dict[str, float]:
    """How well the clusters and the copies match what was planted."""
    from cpp_pipe import Run
    from cpp_pipe.stages.algorithms.metrics import accuracy, nmi
    from cpp_pipe.store import Store

    planted, run = read_planted(folder), Run.open(Store(folder / "store"), RUN)
    assignments, duplicates = run.artifact("assignments"), run.artifact("duplicates")
    tables = [assignments.table(part.name, columns=["cluster"]) for part in assignments.parts]
    clusters = np.concatenate([table.column(0).to_numpy() for table in tables])
    group = np.full(len(clusters), -1)
    table = duplicates.table(duplicates.only_part, columns=["row", "group"])
    group[table.column(0).to_numpy()] = table.column(1).to_numpy()
    first, second = group[planted.originals], group[planted.copies]
    is_found = (first >= 0) & (first == second)
    return {
        "k": int(clusters.max()) + 1,
        "acc": round(accuracy(planted.groups, clusters), 4),
        "nmi": round(nmi(planted.groups, clusters), 4),
        "copies_found": round(float(is_found.mean()), 4) if len(is_found) else 1.0,
    }


def queries_answered(folder: Path) -> dict[str, float]:
    """Seconds to open the index of the features, milliseconds a query, and recall."""
    import faiss

    from cpp_pipe import Run
    from cpp_pipe.pipeline.view.searcher import Searcher
    from cpp_pipe.stages.indexing.vectors import VectorRows
    from cpp_pipe.store import Store

    run = Run.open(Store(folder / "store"), RUN)
    features, index = run.artifact("features"), run.artifact("index/features")
    began = time.perf_counter()
    searcher = Searcher(features, index)
    opened = time.perf_counter() - began
    chosen = np.sort(np.random.default_rng(0).choice(features.rows, QUERIES))
    vectors = VectorRows(features)
    queries = vectors.take(chosen).astype(np.float32)
    near, at = np.full((QUERIES, 10), -2, np.float32), np.zeros((QUERIES, 10), np.int64)
    for start in range(0, features.rows, PART_ROWS):
        block = vectors.take(range(start, min(features.rows, start + PART_ROWS)))
        found = faiss.knn(queries, block.astype(np.float32), 10, faiss.METRIC_INNER_PRODUCT)
        both = np.hstack([near, found[0]]), np.hstack([at, found[1] + start])
        best = np.argsort(-both[0], axis=1)[:, :10]
        near, at = (np.take_along_axis(side, best, axis=1) for side in both)
    hits, taken = 0, []
    for query, truth in zip(queries, at, strict=True):
        began = time.perf_counter()
        rows = searcher.nearest(query[None], 10)[1]
        taken.append(time.perf_counter() - began)
        hits += len(set(np.asarray(rows).tolist()) & set(truth.tolist()))
    return {
        "open_s": round(opened, 3),
        "p50_ms": round(1000 * float(np.median(taken)), 3),
        "recall_at_10": round(hits / at.size, 4),
    }


def page_served(folder: Path, rows: int, clients: int, seconds: float) -> dict[str, float]:
    """Seconds until a server answers and for its first page; latencies under load; memory."""
    began = time.perf_counter()
    with served(folder / "store") as (port, pid), Peaks(pid) as peaks:
        started, cpu = time.perf_counter() - began, cpu_seconds(pid)
        began = time.perf_counter()
        for path in ("/", "/api/run", "/api/clusters", "/api/set", "/api/set/items?limit=60"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                answer.read()
        first, first_mib = time.perf_counter() - began, status_mib(pid, "VmHWM")
        first_anonymous, first_mapped = peaks.anonymous, peaks.mapped
        mix = {"search": 0.4, "items": 0.25, "cards": 0.1, "image": 0.25}

        def ask(draw: random.Random) -> tuple[str, str]:
            (kind,), row = draw.choices(list(mix), list(mix.values())), draw.randrange(rows)
            space, offset = draw.choice(("features", "embeddings")), draw.randrange(rows)
            return kind, {
                "search": f"/api/search?row={row}&space={space}&n=24",
                "items": f"/api/set/items?offset={offset}&limit=60",
                "cards": "/api/clusters",
                "image": f"/api/images/{row}",
            }[kind]

        requests = asyncio.run(load(port, ask, clients, seconds, 0.05))
        peak, spent = status_mib(pid, "VmHWM"), cpu_seconds(pid) - cpu
    taken = sorted(request.seconds for request in requests)
    return {
        "start_s": round(started, 2),
        "first_page_s": round(first, 2),
        "first_page_mib": round(first_mib),
        "first_page_anonymous_mib": round(first_anonymous),
        "first_page_mapped_mib": round(first_mapped),
        "p50_ms": round(ms(taken, 50), 1),
        "p95_ms": round(ms(taken, 95), 1),
        "errors": sum(request.status != 200 for request in requests),
        "peak_mib": round(peak),
        "anonymous_mib": round(peaks.anonymous),
        "mapped_mib": round(peaks.mapped),
        "cpu_seconds": round(spent, 1),
    }


def _print_row(name: str, step: Step, rows: int, plain: str) -> None:
    rate = f"{rows / step.cpu_seconds:,.0f}" if name not in (*QUICK, "search") else ""
    print(
        f"{name:<15}{step.seconds:>9.1f}{rate:>14}{step.peak_mib:>10,.0f}{step.mib:>10,.1f}"
        f"  {plain}",
        flush=True,
    )


def plain_way(folder: Path, name: str, rows: int) -> dict[str, float] | None:
    """Rows, µs a row and MiB of the plain way for a step; None where there is none."""
    way = PLAIN.get(name)
    if way is None:
        return None
    rows = min(rows, way.rows)
    seconds, peak = result_and_peak(way.run, folder, rows)
    return {"rows": rows, "us_a_row": 1e6 * seconds / rows, "mib": round(peak / 2**20)}


def _describe(name: str, plain: dict[str, float] | None, ours_us: float) -> str:
    if plain is None:
        return ""
    share = ours_us / plain["us_a_row"]
    return (
        f"{PLAIN[name].name}, {plain['rows']:,} rows: {plain['us_a_row']:,.1f} µs a row; ours "
        f"{ours_us:,.1f}, {share:.2f} of it"
    )


def _verdicts(rows: int, steps: dict[str, Step], found: dict[str, Any]) -> Iterator[str]:
    path = [step for name, step in steps.items() if STEPS[name] or name == "search"]
    minutes = sum(step.seconds for step in path) / 60
    bars = [
        ("minutes from import to map", minutes, MINUTES * rows / 1e7, False),
        ("peak MiB of a step", max(step.peak_mib for step in path), MOST_MIB, False),
        ("seconds of the slowest of " + ", ".join(QUICK),
         max(steps[name].seconds for name in QUICK), MOST_QUICK_S, False),
        ("rows a second of assign, two cores", rows / steps["assign"].seconds, LEAST_ASSIGN, True),
        ("planted copies found", found["clusters"]["copies_found"], LEAST_FOUND, True),
        ("recall of the index", found["query"]["recall_at_10"], LEAST_FOUND, True),
        ("ms of a query", found["query"]["p50_ms"], 1.0, False),
        ("seconds to open the index", found["query"]["open_s"], 0.5, False),
        ("seconds of the first page", found["serve"]["first_page_s"], MOST_FIRST_PAGE_S, False),
        ("p95 ms of the server", found["serve"]["p95_ms"], MOST_P95_MS, False),
        ("MiB of the server", found["serve"]["peak_mib"], MOST_SERVE_MIB, False),
    ]  # fmt: skip
    for name, value, bar, is_least in bars:
        is_met = value >= bar if is_least else value <= bar
        side = "at least" if is_least else "at most"
        yield f"{name}: {value:,.3g} ({side} {bar:,g}): {'met' if is_met else 'MISSED'}"


def measure(folder: Path, flags: argparse.Namespace) -> dict[str, Any]:
    """All steps over made rows in a folder; prints a line for each."""
    rows = flags.rows
    if not (folder / "planted.npz").is_file():
        result_and_peak(write_embeddings, folder, rows, flags.part_rows)
    print(f"{'':<15}{'seconds':>9}{'rows/s a core':>14}{'peak MiB':>10}{'MiB made':>10}  plain way")
    steps: dict[str, Step] = {}
    plain: dict[str, Any] = {}
    for name, step in measure_steps(folder, min(rows, flags.part_rows)):
        steps[name] = step
        plain[name] = plain_way(folder, name, min(rows, flags.plain_rows))
        _print_row(name, step, rows, _describe(name, plain[name], 1e6 * step.seconds / rows))
    found: dict[str, Any] = {}
    found["clusters"], _ = result_and_peak(clusters_found, folder)
    print(f"planted {cluster_count(rows)} clusters; found {found['clusters']}")
    found["query"], _ = result_and_peak(queries_answered, folder)
    exact = plain_way(folder, "query", min(rows, flags.plain_rows))
    print(f"in the open index: {found['query']}", flush=True)
    found["serve"] = page_served(folder, rows, flags.clients, flags.seconds)
    print(f"serve: {found['serve']}")
    for verdict in _verdicts(rows, steps, found):
        print(verdict)
    return {
        "rows": rows,
        "steps": {name: _rounded(asdict(step)) for name, step in steps.items()},
        "plain": {name: _rounded(way) for name, way in plain.items() if way},
        "plain_query": _rounded(exact or {}),
        **found,
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Prints the table, the bars and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--part-rows", type=int, default=PART_ROWS)
    parser.add_argument("--plain-rows", type=int, default=10**9, help="of plain ways, at most")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30, help="of load on the server")
    parser.add_argument("--store", type=Path, help="keep rows and store in this folder")
    flags = parse_arguments(
        parser, rows=2_000, part_rows=500, plain_rows=500, clients=2, seconds=1.0
    )
    print(f"{flags.rows:,} x 512, parts of {flags.part_rows:,}\n{machine()}\n", flush=True)
    with contextlib.ExitStack() as held:
        temporary = tempfile.TemporaryDirectory(prefix="cpp-pipe-ten-")
        folder = flags.store or Path(held.enter_context(temporary))
        print(json.dumps(measure(folder, flags)))


if __name__ == "__main__":
    main()
