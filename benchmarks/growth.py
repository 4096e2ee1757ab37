"""How the program grows with the number of rows: seconds, memory, and whether clusters stay.

Rows are the first n of one pile in random order, through the real commands `import` and `assign`.
What a size and seed took is kept in its folder, so that an interrupted benchmark continues.
"""

import json
import shutil
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
"""Clusters of made rows, the largest a thousand times the smallest."""


def growth(folder: Path, sizes: Sequence[int], seeds: int, source: Path | None) -> Iterator[Row]:
    """A row for each size; `all` is the ARI with the clusters of the largest, of the same seed."""
    from cpp_pipe.stages.algorithms.metrics import ari, nmi

    most, name = max(sizes), "made rows" if source is None else source.stem
    pile = folder / f"{name.replace(' ', '-')}-{most}"
    if not (pile / "planted.npz").is_file():
        shutil.rmtree(pile, ignore_errors=True)
        if source is None:
            result_and_peak(write_embeddings, pile, most, PART_ROWS, 0, PLANTED)
        else:
            _write_shuffled(pile, source)
    groups = read_planted(pile).groups
    k = int(groups.max()) + 1
    measured = {
        rows: [_measure(pile, rows, k, seed) for seed in range(seeds)] for rows in sorted(sizes)
    }
    largest = [clusters for _, clusters in measured[most]]
    for rows, by_seed in measured.items():
        found = [clusters for _, clusters in by_seed]
        pairs = zip(found, largest, strict=True)
        yield Row(
            name,
            f"{rows:,}",
            {
                "seconds": [step.seconds for step, _ in by_seed],
                "CPU seconds": [step.cpu_seconds for step, _ in by_seed],
                "MiB": [step.peak_mib for step, _ in by_seed],
                "all": [ari(whole[:rows], clusters) for clusters, whole in pairs],
                "seeds": agreement(found),
                "NMI": [nmi(groups[:rows], clusters) for clusters in found],
            },
        )


def _measure(pile: Path, rows: int, k: int, seed: int) -> tuple[Step, ndarray]:
    """What the two commands took together, and the clusters; measured once."""
    own = pile / f"rows-{rows}-seed-{seed}"
    if not (own / "took.json").is_file():
        shutil.rmtree(own, ignore_errors=True)
        result_and_peak(_write_first, pile, own, rows)
        command = Command(own / "store")
        settings = [f"--set={table}.seed={seed}" for table in ("train", "spectrum")]
        steps = [
            command.run("import", str(own), "--model", "ViT-B-32")[0],
            command.run("assign", "--k", str(k), *settings)[0],
        ]
        step = Step(
            seconds=sum(step.seconds for step in steps),
            cpu_seconds=sum(step.cpu_seconds for step in steps),
            peak_mib=max(step.peak_mib for step in steps),
        )
        result_and_peak(_keep_clusters, own)
        (own / "took.json").write_text(json.dumps(asdict(step)))
        for folder in (own / "store", own / "img_emb"):
            shutil.rmtree(folder)
    return Step(**json.loads((own / "took.json").read_text())), np.load(own / "clusters.npy")


def _write_shuffled(pile: Path, source: Path) -> None:
    x, y = load(source)
    order = np.random.default_rng(0).permutation(len(y))
    (pile / "img_emb").mkdir(parents=True)
    np.save(pile / "img_emb" / "img_emb_00000.npy", x[order].astype(np.float16))
    nothing = np.zeros(0, np.int64)
    np.savez(pile / "planted.npz", groups=y[order], originals=nothing, copies=nothing)


def _write_first(pile: Path, own: Path, rows: int) -> None:
    (own / "img_emb").mkdir(parents=True)
    x = read_rows(pile, rows).astype(np.float16)
    for number, start in enumerate(range(0, rows, PART_ROWS)):
        np.save(own / "img_emb" / f"img_emb_{number:05d}.npy", x[start : start + PART_ROWS])


def _keep_clusters(own: Path) -> None:
    from cpp_pipe import Run
    from cpp_pipe.store import Store

    from .serve import RUN

    clusters = Run.open(Store(own / "store"), RUN).artifact("assignments").column("cluster")
    np.save(own / "clusters.npy", np.asarray(clusters))
