"""What clusters of embeddings depend on: the model, γ, how fine the classes are, seeds, the start.

Each function yields the rows of one table of `benchmarks.questions`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from cpp_pipe.stages.algorithms.heads import centred_unit_rows
from cpp_pipe.stages.algorithms.metrics import accuracy, ari, nmi
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.spectrum import Spectrum

from . import guard, views
from .ours import SETS, TINY, Features, Fitted, load, train
from .quality import kmeans, whitened_kmeans

GAMMAS = (0.25, 0.5, 1.0, 1.5, 2.0)
TRAINED: dict[str, Any] = {"epochs": 12, "patience": 0}
"""For γ, which matters only where heads are trained: all of them for the same number of steps."""
STARTS = ("random", "principal", "neighbours")
CATS = {
    "abyssinian", "bengal", "birman", "bombay", "british_shorthair", "egyptian_mau", "maine_coon",
    "persian", "ragdoll", "russian_blue", "siamese", "sphynx",
}  # fmt: skip
"""The breeds of cats of Oxford Pets; all others are dogs."""
BREEDS = 37
"""Of Oxford Pets; other sets are compared by as many of their classes."""
BACKBONES = {"no guide": "CLIP ViT-B/32"}
"""Names of settings of `benchmarks.views` that say more of them here."""


class Row(NamedTuple):
    """A line of a table: figures by seed."""

    group: str
    """The set."""
    name: str
    figures: Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a question is asked of."""

    paths: Sequence[Path] = SETS
    seeds: int = 5
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of training that are not default."""
    gammas: Sequence[float] = GAMMAS
    shards: str = "*.tar"
    """The images that the second model embeds."""
    most_per_class: int = 0
    """Rows of each class for the question of fine classes; 0 takes all."""

    def recipe(self, seed: int, **settings: Any) -> TrainingConfig:
        """The settings of a training."""
        return TrainingConfig(**{**settings, **self.settings, "seed": seed})


def cluster(features: Features, k: int, seed: int) -> ndarray:
    """The cluster of each row, as by default where `auto` takes the consensus.

    It does on photographs. Clusters at a given k are then made from the points alone, so that
    the number of base clusterings, which takes most of the time, changes nothing.
    """
    stage = Spectrum(seed=seed, affinity="consensus", clusterings=1)
    return Fitted.of(features, stage, k).labels(k)


def scores(y: ndarray, clusterings: Sequence[ndarray]) -> dict[str, list[float]]:
    """ACC, NMI and ARI of the clusters of each seed."""
    measures = {"ACC": accuracy, "NMI": nmi, "ARI": ari}
    return {name: [measure(y, labels) for labels in clusterings]
            for name, measure in measures.items()}  # fmt: skip


def agreement(clusterings: Sequence[ndarray]) -> list[float]:
    """ARI between the clusters of each two seeds."""
    return [ari(one, other) for one, other in combinations(clusterings, 2)]


def backbones(asked: Asked) -> Iterator[Row]:
    """The same photographs by two models, and by both at once; `ARI, CLIP` is with CLIP's."""
    for path in asked.paths:
        ways: Mapping[str, Callable[[ndarray, int, int, Any], ndarray]] = {
            "k-means": lambda x, k, seed, _: kmeans(x, k, seed),
            "whitened k-means": lambda x, k, seed, _: whitened_kmeans(x, k, seed),
            "ours": lambda x, k, seed, seen: cluster(views.features(x, seen, seed), k, seed),
        }
        firsts: dict[str, list[ndarray]] = {}
        for name, x, y, seen in views.settings_of(path, (), asked.shards):
            k = int(y.max()) + 1
            for way, fit in ways.items():
                clusterings = [fit(x, k, seed, seen) for seed in range(asked.seeds)]
                first = firsts.setdefault(way, clusterings)
                same = [ari(*pair) for pair in zip(first, clusterings, strict=True)]
                figures = {**scores(y, clusterings), "ARI, CLIP": same}
                yield Row(path.stem, f"{BACKBONES.get(name, name)}, {way}", figures)


def balance(asked: Asked) -> Iterator[Row]:
    """Trainings by several γ: ACC of their start, of the last heads, and of those kept."""
    for path in asked.paths:
        x, y = load(path)
        for gamma in asked.gammas:
            rows = [
                guard.train_and_keep(x, y, asked.recipe(seed, **TRAINED, gamma=gamma))
                for seed in range(asked.seeds)
            ]
            figures = {
                "start": [row.start for row in rows],
                "last": [row.last for row in rows],
                "kept": [row.kept for row in rows],
                "step": [float(row.step) for row in rows],
            }
            yield Row(path.stem, f"γ = {gamma:g}", figures)


def starts(asked: Asked) -> Iterator[Row]:
    """Clusters by each start of the heads; `agreement` is the ARI between each two seeds."""
    for path in asked.paths:
        x, y = load(path)
        k = int(y.max()) + 1
        for start in STARTS:
            clusterings = [
                cluster(train(x, asked.recipe(seed, start=start)), k, seed)
                for seed in range(asked.seeds)
            ]
            figures = {**scores(y, clusterings), "agreement": agreement(clusterings)}
            yield Row(path.stem, start, figures)


def fine(asked: Asked) -> Iterator[Row]:
    """Breeds, and as many classes of other sets; `known` is the ACC of means of known classes."""
    for path in asked.paths:
        for name, select in _selections(path).items():
            x, y = load(path)
            chosen = [
                _thinned(*select(x, y, seed), asked.most_per_class, seed)
                for seed in range(asked.seeds)
            ]
            clusterings: dict[str, list[dict[str, list[float]]]] = {"k-means": [], "ours": []}
            known = [_known(rows, labels, seed) for seed, (rows, labels) in enumerate(chosen)]
            for seed, (rows, labels) in enumerate(chosen):
                k = int(labels.max()) + 1
                found = cluster(train(rows, asked.recipe(seed)), k, seed)
                clusterings["ours"].append(scores(labels, [found]))
                clusterings["k-means"].append(scores(labels, [kmeans(rows, k, seed)]))
            for way, by_seed in clusterings.items():
                figures = {
                    measure: [score[measure][0] for score in by_seed] for measure in by_seed[0]
                }
                yield Row(path.stem, f"{name}, {way}", {**figures, "known": known})


Select = Callable[[ndarray, ndarray, int], tuple[ndarray, ndarray]]


def _selections(path: Path) -> dict[str, Select]:
    """Which rows of a set are clustered into which classes."""
    if path.stem != "oxford_pets":
        return {f"{BREEDS} random classes": _random_classes}
    with np.load(path, allow_pickle=False) as file:
        is_cat = np.array([name in CATS for name in file["class_name"].tolist()])

    def only(classes: ndarray) -> Select:
        return lambda x, y, seed: _of_classes(x, y, np.flatnonzero(classes))

    return {
        "cats or dogs": lambda x, y, seed: (x, is_cat[y].astype(np.int64)),
        f"{len(is_cat)} breeds": lambda x, y, seed: (x, y),
        f"{is_cat.sum()} breeds of cats": only(is_cat),
        f"{(~is_cat).sum()} breeds of dogs": only(~is_cat),
    }


def _random_classes(x: ndarray, y: ndarray, seed: int) -> tuple[ndarray, ndarray]:
    count = int(y.max()) + 1
    classes = np.random.default_rng(seed).permutation(count)[:BREEDS]
    return _of_classes(x, y, classes)


def _of_classes(x: ndarray, y: ndarray, classes: ndarray) -> tuple[ndarray, ndarray]:
    rows = np.isin(y, classes)
    return x[rows], np.unique(y[rows], return_inverse=True)[1]


def _thinned(x: ndarray, y: ndarray, most: int, seed: int) -> tuple[ndarray, ndarray]:
    """At most so many rows of each class; all for 0."""
    if not most:
        return x, y
    order = np.random.default_rng(seed).permutation(len(y))
    rows = np.sort(np.concatenate([order[y[order] == label][:most] for label in np.unique(y)]))
    return x[rows], y[rows]


def _known(x: ndarray, y: ndarray, seed: int) -> float:
    """ACC of the nearest class mean on one half of the rows, fitted on the other with labels."""
    rows = centred_unit_rows(x)
    is_fitted = np.random.default_rng(seed).permutation(len(y)) % 2 == 0
    classes = np.unique(y[is_fitted])
    means = np.stack([rows[is_fitted & (y == label)].mean(axis=0) for label in classes])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest = classes[(rows[~is_fitted] @ means.T).argmax(axis=1)]
    return float((nearest == y[~is_fitted]).mean())


def tiny() -> Asked:
    """A size of every question that takes seconds."""
    return Asked(
        paths=[TINY], seeds=2, settings={"epochs": 1, "hidden": 32}, gammas=(0.5, 1.0),
        shards=views.TINY_SHARD, most_per_class=4,
    )  # fmt: skip
