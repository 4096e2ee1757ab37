"""Search by refined features against search by raw embeddings, on sets with labels.

    python -m benchmarks.retrieval                      # three sets of photographs, and the digits
    python -m benchmarks.retrieval --seeds 3 my.npz     # any .npz of x, y; digits only when named
    python -m benchmarks.retrieval --cache heads/       # trains nothing that it has trained before

Every row is a query once, and looks for all other rows by cosine; what has its label is right.
`features` are what `search --query` compares: z and c, side by side, of heads trained by default
settings (the digits by their shipped config), which see no label. `embeddings` are the raw ones.
More tell where a difference comes from: z and c alone, embeddings less their mean, and features of
the heads as they start. `by class` is mean average precision where each class counts alike, and not
each query.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from cpp_pipe.pipeline.config import Settings, find_config, read_tables
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.algorithms.heads import centred_unit_rows
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.artifact_rows import gather
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.indexing.vectors import join_features
from cpp_pipe.store import Store

from .measure import machine
from .ours import SETS, load, start, train

DIGITS = "digits"
NEAREST = 10
_BLOCK = 512
"""Queries that are ranked at once."""
SPACES = ("features", "embeddings", "z", "c", "centred", "untrained")

Spaces = Mapping[str, ndarray]
"""Rows (n, d) of each space, in the order of the labels."""


class Found(NamedTuple):
    """How well rows of one label find each other."""

    over_queries: tuple[float, float]
    """Precision among the nearest, and mean average precision, over all queries alike."""
    map_by_class: float
    """Mean over labels of the mean average precision of their queries."""


def retrieval(z: ndarray, y: ndarray, nearest: int = NEAREST) -> Found:
    """Figures of all rows as queries for all other rows.

    `z` (n, d) are rows compared by cosine, `y` (n,) their labels. A query is no hit of its own.
    Average precision is the mean, over the right rows of a full ranking, of the share of right
    rows down to each (Manning et al., Introduction to Information Retrieval, 8.4). Rows whose
    label no other row has are no queries. Of equal similarities the earlier row comes first.
    """
    rows = z / np.linalg.norm(z, axis=1, keepdims=True)
    ranks = np.arange(1, len(rows))
    precisions, averages, labels = [], [], []
    for first in range(0, len(rows), _BLOCK):
        queries = np.arange(first, min(first + _BLOCK, len(rows)))
        similarities = rows[queries] @ rows.T
        similarities[np.arange(len(queries)), queries] = -np.inf
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :-1]
        is_right = y[order] == y[queries, None]
        right = is_right.sum(axis=1)
        asked = right > 0
        down_to = is_right.cumsum(axis=1) / ranks
        precisions.append(is_right[asked, :nearest].mean(axis=1))
        averages.append((down_to * is_right).sum(axis=1)[asked] / right[asked])
        labels.append(y[queries][asked])
    average, label = np.concatenate(averages), np.concatenate(labels)
    by_class = [average[label == one].mean() for one in np.unique(label)]
    over_queries = float(np.concatenate(precisions).mean()), float(average.mean())
    return Found(over_queries, float(np.mean(by_class)))


def spaces_of(path: Path, seed: int) -> tuple[Spaces, ndarray]:
    """The spaces of a set of embeddings, its heads trained by default settings; and its labels."""
    x, y = load(path)
    trained = train(x, TrainingConfig(seed=seed))
    return _all_spaces(x, trained.z, trained.c, seed), y


def spaces_of_digits(seed: int) -> tuple[Spaces, ndarray]:
    """The spaces of the demo's digits, as its own commands make them; and their labels."""
    settings = Settings.from_tables(read_tables(find_config(DIGITS)), DIGITS)
    settings = settings.override("train", seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Store(folder), DIGITS, settings, Runtime(), lambda line: None)
        embeddings, features = plan.make("embeddings"), plan.make("features")
        x = gather(embeddings).astype(np.float32)
        z, c = (gather(features, role).astype(np.float32) for role in ("z", "c"))
        y = np.unique(embeddings.column("label"), return_inverse=True)[1]
    return _all_spaces(x, z, c, seed), y


def _all_spaces(x: ndarray, z: ndarray, c: ndarray, seed: int) -> Spaces:
    """Rounded as the store rounds them."""
    untrained = start(x, seed)
    before = join_features(untrained.z, untrained.c)
    spaces = (join_features(z, c), x, z, c, centred_unit_rows(x), before)
    return {
        name: one.astype(np.float16).astype(np.float32)
        for name, one in zip(SPACES, spaces, strict=True)
    }


def _cached(name: str, path: Path | None, seed: int, cache: Path | None) -> tuple[Spaces, ndarray]:
    file = None if cache is None else cache / f"{name}-{seed}.npz"
    if file is not None and file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            return {space: kept[space] for space in SPACES}, kept["y"]
    spaces, y = spaces_of_digits(seed) if path is None else spaces_of(path, seed)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, allow_pickle=False, y=y, **spaces)
    return spaces, y


def compare(name: str, path: Path | None, seeds: int, cache: Path | None) -> dict[str, Any]:
    """Figures of all spaces on one set, means over seeds, printed as they come."""
    began = time.perf_counter()
    found: dict[str, list[tuple[float, ...]]] = {space: [] for space in SPACES}
    rows = classes = 0
    for seed in range(seeds):
        spaces, y = _cached(name, path, seed, cache)
        rows, classes = len(y), len(np.unique(y))
        for space, z in spaces.items():
            told = retrieval(z, y)
            found[space].append((*told.over_queries, told.map_by_class))
    seconds = time.perf_counter() - began
    print(f"\n{name}: {rows:,} rows, {classes} classes, {seconds:.0f} s")
    print(f"{'':<12}{f'P@{NEAREST}':>8}{'mAP':>8}{'by class':>10}")
    line: dict[str, Any] = {}
    for space, figures in found.items():
        p, average, by_class = (round(float(one), 4) for one in np.mean(figures, axis=0))
        line[space] = {f"p{NEAREST}": p, "map": average, "map_by_class": by_class}
        print(f"{space:<12}{p:>8.3f}{average:>8.3f}{by_class:>10.3f}", flush=True)
    return line


def main() -> None:
    """Prints a table a set, on which sets features are not ahead, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sets", nargs="*", help=f".npz files of x and y, or {DIGITS}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="a folder that keeps features between calls")
    told = parser.parse_args()
    print(f"search by features and by embeddings, {told.seeds} seed(s)\n{machine()}")
    sets: Sequence[str] = told.sets or [*map(str, SETS), DIGITS]
    line = {}
    for one in sets:
        path = None if one == DIGITS else Path(one)
        name = one if path is None else path.stem
        line[name] = compare(name, path, told.seeds, told.cache)
    behind = [
        f"{name} ({measure})"
        for name, spaces in line.items()
        for measure, value in spaces["features"].items()
        if value <= spaces["embeddings"][measure]
    ]
    print(f"\nfeatures are not ahead on: {', '.join(behind)}" if behind else "\nahead on every set")
    print(json.dumps(line))


if __name__ == "__main__":
    main()
