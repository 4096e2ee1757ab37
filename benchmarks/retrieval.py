"""Search by features against search by embeddings, on sets with labels.

    python -m benchmarks.retrieval                      # three sets of photographs, and the digits
    python -m benchmarks.retrieval --seeds 3 my.npz     # any .npz of x, y; digits only when named
    python -m benchmarks.retrieval --cache heads/       # keep features, to train nothing again

Every row is a query for all other rows by cosine; rows with its label are right. `features` are
those that `search` compares: z and c of heads made by default settings (the digits by their shipped
config), without labels. `embeddings` are the raw ones. More spaces show where a difference comes
from: z and c alone, embeddings less their mean, and features along the principal directions. `by
class` is the mean average precision with equal weight for each class, not for each query.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from cpp_pipe.pipeline.config import Settings, find_config, read_tables
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.algorithms.heads import centred_unit_rows
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.store import Store

from .measure import argument_parser, machine, parse_arguments
from .ours import SETS, TINY, load, start, train

DIGITS = "digits"
NEAREST = 10
_BLOCK = 512
"""Queries ranked at once."""
SPACES = ("features", "embeddings", "z", "c", "centred", "untrained")

Spaces = Mapping[str, ndarray]
"""Rows (n, d) of each space, in the order of the labels."""


class Retrieval(NamedTuple):
    """How well rows of one label find each other."""

    over_queries: tuple[float, float]
    """Precision at `nearest` and mean average precision, over all queries."""
    map_by_class: float
    """Mean over labels of the mean average precision of their queries."""


def retrieval(z: ndarray, y: ndarray, nearest: int = NEAREST) -> Retrieval:
    """Precision with every row as a query for all other rows.

    `z` (n, d) are compared by cosine; `y` (n,) are their labels. A query never finds itself.
    Average precision is the mean precision at the ranks of the right rows, in a full ranking
    (Manning et al., Introduction to Information Retrieval, 8.4). Rows whose label no other row has
    are not queries. Ties keep the order of rows.
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
        is_query = right > 0
        precision_at = is_right.cumsum(axis=1) / ranks
        precisions.append(is_right[is_query, :nearest].mean(axis=1))
        averages.append((precision_at * is_right).sum(axis=1)[is_query] / right[is_query])
        labels.append(y[queries][is_query])
    average, label = np.concatenate(averages), np.concatenate(labels)
    by_class = [average[label == value].mean() for value in np.unique(label)]
    over_queries = float(np.concatenate(precisions).mean()), float(average.mean())
    return Retrieval(over_queries, float(np.mean(by_class)))


def spaces_of(path: Path, seed: int) -> tuple[Spaces, ndarray]:
    """The spaces of a set of embeddings, with heads by default settings, and its labels."""
    x, y = load(path)
    trained = train(x, TrainingConfig(seed=seed))
    return _all_spaces(x, trained.z, trained.c, seed), y


def spaces_of_digits(seed: int) -> tuple[Spaces, ndarray]:
    """The spaces of the digits of the demo, and their labels."""
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
    """All spaces, rounded like in the store."""
    untrained = start(x, seed)
    before = join_features(untrained.z, untrained.c)
    spaces = (join_features(z, c), x, z, c, centred_unit_rows(x), before)
    return {
        name: rows.astype(np.float16).astype(np.float32)
        for name, rows in zip(SPACES, spaces, strict=True)
    }


def _cached(name: str, path: Path | None, seed: int, cache: Path | None) -> tuple[Spaces, ndarray]:
    file = None if cache is None else cache / f"{name}-{seed}.npz"
    if file is not None and file.is_file():
        with np.load(file, allow_pickle=False) as cached:
            return {space: cached[space] for space in SPACES}, cached["y"]
    spaces, y = spaces_of_digits(seed) if path is None else spaces_of(path, seed)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, allow_pickle=False, y=y, **spaces)
    return spaces, y


def compare(name: str, path: Path | None, seeds: int, cache: Path | None) -> dict[str, Any]:
    """Prints and returns the figures of all spaces on one set, means over seeds."""
    began = time.perf_counter()
    figures: dict[str, list[tuple[float, ...]]] = {space: [] for space in SPACES}
    rows = classes = 0
    for seed in range(seeds):
        spaces, y = _cached(name, path, seed, cache)
        rows, classes = len(y), len(np.unique(y))
        for space, z in spaces.items():
            scores = retrieval(z, y)
            figures[space].append((*scores.over_queries, scores.map_by_class))
    seconds = time.perf_counter() - began
    print(f"\n{name}: {rows:,} rows, {classes} classes, {seconds:.0f} s")
    print(f"{'':<12}{f'P@{NEAREST}':>8}{'mAP':>8}{'by class':>10}")
    table: dict[str, Any] = {}
    for space, of_seeds in figures.items():
        p, average, by_class = np.mean(of_seeds, axis=0).round(4).tolist()
        table[space] = {f"p{NEAREST}": p, "map": average, "map_by_class": by_class}
        print(f"{space:<12}{p:>8.3f}{average:>8.3f}{by_class:>10.3f}", flush=True)
    return table


def main() -> None:
    """Prints a table for each set, the sets where features are not ahead, and the JSON line."""
    parser = argument_parser(__doc__)
    sets = [*map(str, SETS), DIGITS]
    parser.add_argument("sets", nargs="*", default=sets, help=f".npz files of x and y, or {DIGITS}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="keep features in this folder between runs")
    arguments = parse_arguments(parser, sets=[str(TINY)])
    print(f"search by features and by embeddings, {arguments.seeds} seed(s)\n{machine()}")
    table = {}
    for given in arguments.sets:
        path = None if given == DIGITS else Path(given)
        name = given if path is None else path.stem
        table[name] = compare(name, path, arguments.seeds, arguments.cache)
    behind = [
        f"{name} ({measure})"
        for name, spaces in table.items()
        for measure, value in spaces["features"].items()
        if value <= spaces["embeddings"][measure]
    ]
    print(f"\nfeatures are not ahead on: {', '.join(behind)}" if behind else "\nahead on every set")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
