"""Time, memory and accuracy of the stages `spectrum` and `assign` by number of rows.

    python -m benchmarks.assign_scale                          # up to 1,000,000 rows: 1 GB of disk
    python -m benchmarks.assign_scale --sizes 10000,10000000   # 10 GB of disk, 6 GB of memory

Rows are planted subspaces. For each size, one process makes a store in a temporary folder and
another clusters it, by the stages with default settings and k given; reading, hashing and writing
count. Memory is the peak of the second process, with imports and mapped files. The features are
the embeddings, so that only clustering is measured.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cpp_pipe.pipeline.making.jobs import Job, find_or_make
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.assign import Assign
from cpp_pipe.stages.contract import Runtime, Stage
from cpp_pipe.stages.spectrum import Spectrum
from cpp_pipe.store import Artifact, Product, Recipe, Scratch, Store
from cpp_pipe.store.kinds import EMBEDDINGS, FEATURES, Kind

from .measure import argument_parser, machine, parse_arguments, peak_so_far, result_and_peak
from .planted import planted
from .read import make_part

SIZES = "10000,100000,1000000"
GROUPS = 20
PART_ROWS = 100_000
MOST_GROWTH, MOST_MIB, LEAST_ACC = 1.5, 2560, 0.98
"""The bars: growth of seconds per row from 100,000 rows to 1,000,000, MiB at 1,000,000, ACC."""


def make_store(folder: Path, rows: int) -> None:
    """Writes planted rows as embeddings and features, and their groups next to the store."""
    x, groups = planted(GROUPS, rows)
    np.save(folder / "groups.npy", groups)
    names = {f"part-{start // PART_ROWS:05d}": start for start in range(0, rows, PART_ROWS)}
    store = Store(folder / "store")

    def make(kind: Kind, write: Any) -> None:
        recipe = Recipe(
            kind=kind.name,
            format=kind.format,
            stage="benchmark",
            revision=1,
            config={},
            parts={name: {"planted": name} for name in names},
        )
        draft = store.draft(recipe)
        for name, start in names.items():
            part = x[start : start + PART_ROWS].astype(np.float16)
            draft.make_part(name, lambda scratch, part=part, name=name: write(scratch, part, name))
        draft.publish({}, {})

    make(EMBEDDINGS, make_part)
    make(FEATURES, _make_features)


def _make_features(scratch: Scratch, x: np.ndarray, part: str) -> Product:
    for role in FEATURES.files:
        np.save(scratch.path(role), x)
    model = {"model": "planted", "pretrained": "none", "embedding_size": x.shape[1]}
    return Product(rows=len(x), shared={"feature_size": x.shape[1], "model": model})


def cluster(folder: Path) -> dict[str, tuple[float, int]]:
    """Runs spectrum and assign; by stage the seconds, and the peak memory at its end."""
    store = Store(folder / "store")
    measured = {}
    stage: Stage
    for stage in (Spectrum(), Assign(k=GROUPS)):
        made = {artifact.kind.name: artifact for artifact in store.artifacts()}
        job = Job(
            slot=stage.kind.name,
            stage=stage,
            inputs={kind: made[kind] for kind in stage.needs},
            runtime=Runtime(device="cpu"),
        )
        began = time.perf_counter()
        find_or_make(job, store, "scale", {}, lambda line: None)
        measured[stage.name] = time.perf_counter() - began, peak_so_far()
    return measured


def measure(rows: int) -> dict[str, Any]:
    """Seconds, memory and accuracy for a number of rows."""
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-scale-") as name:
        folder = Path(name)
        result_and_peak(make_store, folder, rows)
        measured, peak = result_and_peak(cluster, folder)
        made = {artifact.kind.name: artifact for artifact in Store(folder / "store").artifacts()}
        acc = accuracy(np.load(folder / "groups.npy"), _clusters(made["assignments"]))
    spectrum_s, assign_s = (measured[name][0] for name in ("spectrum", "assign"))
    return {
        "rows_per_s": round(rows / assign_s),
        "rows_per_s_both": round(rows / (spectrum_s + assign_s)),
        "rss_mib": round(peak / 2**20),
        "rss_after_spectrum_mib": round(measured["spectrum"][1] / 2**20),
        "acc": round(acc, 4),
        "spectrum_s": round(spectrum_s, 2),
        "assign_s": round(assign_s, 2),
        "k_max": made["spectrum"].facts["k_max"],
        "affinity": made["spectrum"].facts["affinity"],
    }


def _clusters(assignments: Artifact) -> np.ndarray:
    columns = [
        assignments.table(part.name, columns=["cluster"]).column(0).to_numpy()
        for part in assignments.parts
    ]
    return np.concatenate(columns)


def _print_bars(table: dict[str, dict[str, Any]]) -> None:
    few, many = table.get("100000"), table.get("1000000")
    if few and many:
        growth = few["rows_per_s"] / many["rows_per_s"]
        both = few["rows_per_s_both"] / many["rows_per_s_both"]
        print(
            f"seconds per row, 1,000,000 over 100,000: {growth:.2f} of assign, {both:.2f} of both "
            f"(at most {MOST_GROWTH}): {_verdict(growth <= MOST_GROWTH)}"
        )
    if many:
        mib = many["rss_mib"]
        print(f"MiB at 1,000,000 rows: {mib} (at most {MOST_MIB}): {_verdict(mib <= MOST_MIB)}")
    acc = min(row["acc"] for row in table.values())
    print(f"least ACC: {acc:.4f} (at least {LEAST_ACC}): {_verdict(acc >= LEAST_ACC)}")


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def main() -> None:
    """Prints the table, the bars and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", default=SIZES, help=f"numbers of rows, such as {SIZES}")
    sizes = parse_arguments(parser, sizes="2000").sizes.split(",")
    print(f"spectrum and assign, {GROUPS} subspaces in 128 dimensions, k given\n{machine()}\n")
    print(
        f"{'rows':>11} {'affinity':>11} {'k_max':>6} {'spectrum s':>11} {'assign s':>9} "
        f"{'rows/s':>8} {'of both':>8} {'peak MiB':>9} {'of spectrum':>12} {'ACC':>7}"
    )
    table: dict[str, dict[str, Any]] = {}
    for size in sizes:
        row = table[size] = measure(int(size))
        print(
            f"{int(size):>11,} {row['affinity']:>11} {row['k_max']:>6} {row['spectrum_s']:>11.1f} "
            f"{row['assign_s']:>9.1f} {row['rows_per_s']:>8,} {row['rows_per_s_both']:>8,} "
            f"{row['rss_mib']:>9,} {row['rss_after_spectrum_mib']:>12,} {row['acc']:>7.4f}",
            flush=True,
        )
    _print_bars(table)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
