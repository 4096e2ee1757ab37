"""The stages spectrum and assign as rows grow: seconds, memory, accuracy, on planted subspaces.

    python -m benchmarks.assign_scale                          # up to 1,000,000 rows: 1 GB of disk
    python -m benchmarks.assign_scale --sizes 10000,10000000   # 10 GB of disk, 6 GB to make it

Each size has a store of its own in a temporary folder, made by one process and clustered by
another, through the real stages with their default settings and k given; what is read, hashed and
written counts. Memory is the most that the second process holds while it works, imports and mapped
files included. The embeddings are the features, so that nothing but clustering is measured.
"""

import argparse
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

from .measure import machine, peak_so_far, result_and_peak
from .planted import planted
from .read import make_part

SIZES = "10000,100000,1000000"
GROUPS = 20
PART_ROWS = 100_000
MOST_GROWTH, MOST_MIB, LEAST_ACC = 1.5, 2560, 0.98
"""The bars: seconds a row from 100,000 rows to 1,000,000, memory at 1,000,000, accuracy."""


def make_store(folder: Path, rows: int) -> None:
    """Writes planted rows as embeddings and features, and their groups beside the store."""
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
    return Product(rows=len(x))


def cluster(folder: Path) -> dict[str, tuple[float, int]]:
    """Makes a spectrum and assigns all rows; the seconds of each, and the peak at its end."""
    store = Store(folder / "store")
    told = {}
    stage: Stage
    for stage in (Spectrum(), Assign(k=GROUPS)):
        made = {one.kind.name: one for one in store.artifacts()}
        job = Job(
            slot=stage.kind.name,
            stage=stage,
            inputs={kind: made[kind] for kind in stage.needs},
            runtime=Runtime(device="cpu"),
        )
        began = time.perf_counter()
        find_or_make(job, store, "scale", {}, lambda line: None)
        told[stage.name] = time.perf_counter() - began, peak_so_far()
    return told


def measure(rows: int) -> dict[str, Any]:
    """What a size takes, and how well it is clustered."""
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-scale-") as name:
        folder = Path(name)
        result_and_peak(make_store, folder, rows)
        told, peak = result_and_peak(cluster, folder)
        made = {one.kind.name: one for one in Store(folder / "store").artifacts()}
        acc = accuracy(np.load(folder / "groups.npy"), _clusters(made["assignments"]))
    spectrum_s, assign_s = (told[name][0] for name in ("spectrum", "assign"))
    return {
        "rows_per_s": round(rows / assign_s),
        "rows_per_s_both": round(rows / (spectrum_s + assign_s)),
        "rss_mib": round(peak / 2**20),
        "rss_after_spectrum_mib": round(told["spectrum"][1] / 2**20),
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


def _bars(told: dict[str, dict[str, Any]]) -> None:
    few, many = told.get("100000"), told.get("1000000")
    if few and many:
        growth = few["rows_per_s"] / many["rows_per_s"]
        both = few["rows_per_s_both"] / many["rows_per_s_both"]
        print(
            f"seconds a row, 1,000,000 over 100,000: {growth:.2f} of assign, {both:.2f} of both "
            f"(at most {MOST_GROWTH}): {_verdict(growth <= MOST_GROWTH)}"
        )
    if many:
        mib = many["rss_mib"]
        print(f"MiB at 1,000,000 rows: {mib} (at most {MOST_MIB}): {_verdict(mib <= MOST_MIB)}")
    acc = min(one["acc"] for one in told.values())
    print(f"least ACC: {acc:.4f} (at least {LEAST_ACC}): {_verdict(acc >= LEAST_ACC)}")


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def main() -> None:
    """Prints the table, the bars and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default=SIZES, help=f"rows with commas, {SIZES}")
    sizes = [int(one) for one in parser.parse_args().sizes.split(",")]
    print(f"spectrum and assign, {GROUPS} subspaces in 128 dimensions, k given\n{machine()}\n")
    print(
        f"{'rows':>11} {'affinity':>11} {'k_max':>6} {'spectrum s':>11} {'assign s':>9} "
        f"{'rows/s':>8} {'of both':>8} {'peak MiB':>9} {'of spectrum':>12} {'ACC':>7}"
    )
    told: dict[str, dict[str, Any]] = {}
    for rows in sizes:
        one = told[str(rows)] = measure(rows)
        print(
            f"{rows:>11,} {one['affinity']:>11} {one['k_max']:>6} {one['spectrum_s']:>11.1f} "
            f"{one['assign_s']:>9.1f} {one['rows_per_s']:>8,} {one['rows_per_s_both']:>8,} "
            f"{one['rss_mib']:>9,} {one['rss_after_spectrum_mib']:>12,} {one['acc']:>7.4f}",
            flush=True,
        )
    _bars(told)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
