"""How the program grows with the number of rows: seconds, memory, and whether clusters stay.

Rows are the first n of one pile in random order, through the real commands `import` and `assign`.
What a size took is kept in its folder, so that sizes can be run one by one.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy import ndarray

from .answers import Row, agreement
from .clip_like import read_planted, read_rows, write_embeddings
from .measure import result_and_peak
from .ours import load
from .ten_million import PART_ROWS, Command, Step

PLANTED = 50
"""Clusters of the made pile, the largest a thousand times the smallest."""


def make_pile(folder: Path, rows: int, source: Path | None) -> int:
    """Makes the pile of all rows if it is not there; how many clusters it has."""
    if not (folder / "planted.npz").is_file():
        if source is None:
            result_and_peak(write_embeddings, folder, rows, PART_ROWS, 0, PLANTED)
        else:
            result_and_peak(_write_shuffled, folder, source)
    return int(read_planted(folder).groups.max()) + 1


def _write_shuffled(folder: Path, source: Path) -> None:
    x, y = load(source)
    order = np.random.default_rng(0).permutation(len(y))
    (folder / "img_emb").mkdir(parents=True)
    np.save(folder / "img_emb" / "img_emb_00000.npy", x[order].astype(np.float16))
    nothing = np.zeros(0, np.int64)
    np.savez(folder / "planted.npz", groups=y[order], originals=nothing, copies=nothing)


def measure_size(folder: Path, rows: int, k: int, seeds: int) -> list[Step]:
    """What a size took by seed; runs what has not been run. Memory is that of both commands."""
    own = folder / f"rows-{rows}"
    command = Command(own / "store")
    if not (own / "import.json").is_file():
        result_and_peak(_write_first, folder, own, rows)
        step, _ = command.run("import", str(own / "pile"), "--model", "ViT-B-32")
        (own / "import.json").write_text(json.dumps(asdict(step)))
    imported = Step(**json.loads((own / "import.json").read_text()))
    steps = []
    for seed in range(seeds):
        kept = own / f"seed-{seed}.json"
        if not kept.is_file():
            settings = [f"--set={table}.seed={seed}" for table in ("train", "spectrum")]
            step, _ = command.run("assign", "--k", str(k), *settings)
            result_and_peak(_keep_clusters, own, seed)
            kept.write_text(json.dumps(asdict(step)))
        step = Step(**json.loads(kept.read_text()))
        steps.append(
            Step(
                seconds=imported.seconds + step.seconds,
                cpu_seconds=imported.cpu_seconds + step.cpu_seconds,
                peak_mib=max(imported.peak_mib, step.peak_mib),
            )
        )
    return steps


def _write_first(folder: Path, own: Path, rows: int) -> None:
    (own / "pile" / "img_emb").mkdir(parents=True)
    x = read_rows(folder, rows).astype(np.float16)
    for number, start in enumerate(range(0, rows, PART_ROWS)):
        path = own / "pile" / "img_emb" / f"img_emb_{number:05d}.npy"
        np.save(path, x[start : start + PART_ROWS])


def _keep_clusters(own: Path, seed: int) -> None:
    from cpp_pipe import Run
    from cpp_pipe.store import Store

    from .serve import RUN

    clusters = Run.open(Store(own / "store"), RUN).artifact("assignments").column("cluster")
    np.save(own / f"seed-{seed}.npy", np.asarray(clusters))


def clusters_of(folder: Path, rows: int, seeds: int) -> list[ndarray]:
    """The clusters that a size's seeds made."""
    return [np.load(folder / f"rows-{rows}" / f"seed-{seed}.npy") for seed in range(seeds)]


def growth(folder: Path, sizes: Sequence[int], seeds: int, source: Path | None) -> Iterator[Row]:
    """A row for each size; `all` is the ARI with the clusters of the largest, of the same seed."""
    from cpp_pipe.stages.algorithms.metrics import ari, nmi

    name = "made rows" if source is None else source.stem
    k = make_pile(folder, max(sizes), source)
    groups = read_planted(folder).groups
    steps = {rows: measure_size(folder, rows, k, seeds) for rows in sizes}
    largest = clusters_of(folder, max(sizes), seeds)
    for rows in sizes:
        found = clusters_of(folder, rows, seeds)
        pairs = list(zip(found, largest, strict=True))
        yield Row(
            name,
            f"{rows:,}",
            {
                "seconds": [step.seconds for step in steps[rows]],
                "CPU s": [step.cpu_seconds for step in steps[rows]],
                "MiB": [step.peak_mib for step in steps[rows]],
                "all": [ari(clusters, whole[:rows]) for clusters, whole in pairs],
                "seeds": agreement(found),
                "NMI": [nmi(groups[:rows], clusters) for clusters in found],
            },
        )
