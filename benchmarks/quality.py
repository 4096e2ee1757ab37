"""Clusters of real embeddings by several methods, scored over all rows against labels.

    python -m benchmarks.quality                       # the sets in ../shared, 5 seeds
    python -m benchmarks.quality --seeds 1 my.npz      # any .npz of x, y
    python -m benchmarks.quality --methods ours --set gamma=2 --set eta=0.1

Every method gets the same embeddings and the true number of clusters; `ours` has cpp-pipe's default
settings on every set, and no label enters any method. `whitened_kmeans` and `whitened_ward` are two
baselines on our start, `untrained` is our pipeline from principal directions, without whitening and
training. More methods can be named: `reference`, the paper's recipe; `hierarchy`, ours with its
finest clusters merged. With k unknown, ours takes what `select-k` takes. `ece` is the mean distance
of confidence from accuracy over tenths of the rows.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering

from cpp_pipe.stages.algorithms import metrics
from cpp_pipe.stages.algorithms.clustering import spectral
from cpp_pipe.stages.algorithms.clustering.landmarks import RESTARTS, Partition
from cpp_pipe.stages.algorithms.heads import centred_unit_rows
from cpp_pipe.stages.algorithms.recipe import REFERENCE, Recipe
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.spectrum import Spectrum

from .measure import machine
from .ours import SETS, Features, Fitted, load, parse_settings, start, train, whitened

ETA = 0.1
"""Temperature of the untrained doubly stochastic baseline: the better one of those in method.md."""

Labels = np.ndarray
Method = Callable[[np.ndarray, int, int], Labels]
"""Embeddings (n, d), number of clusters, seed: labels (n,)."""


def kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """k-means on centred unit rows, the best of ten starts."""
    return KMeans(k, n_init=10, random_state=seed).fit_predict(centred_unit_rows(x))


def spherical_kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """Lloyd's iteration by cosine, with unit centroids, from a k-means++ start."""
    rows = centred_unit_rows(x)
    centroids = KMeans(k, n_init=1, max_iter=1, random_state=seed).fit(rows).cluster_centers_
    labels = np.full(len(rows), -1)
    for _ in range(100):
        length = np.linalg.norm(centroids, axis=1, keepdims=True)
        nearest = (rows @ (centroids / np.maximum(length, 1e-12)).T).argmax(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        sums = np.zeros_like(centroids)
        np.add.at(sums, labels, rows)
        centroids = np.where((np.bincount(labels, minlength=k) > 0)[:, None], sums, centroids)
    return labels


def spectral_cosine(x: np.ndarray, k: int, seed: int) -> Labels:
    """scikit-learn's spectral clustering on cosines, negative ones cut off."""
    rows = centred_unit_rows(x)
    affinity = np.maximum(rows @ rows.T, 0)
    model = SpectralClustering(k, affinity="precomputed", random_state=seed)
    return model.fit_predict(affinity)


def spectral_neighbours(x: np.ndarray, k: int, seed: int) -> Labels:
    """The same on each row's ten nearest neighbours."""
    model = SpectralClustering(k, affinity="nearest_neighbors", n_neighbors=10, random_state=seed)
    with warnings.catch_warnings():
        # A graph of several pieces is meant to be clustered as it is.
        warnings.simplefilter("ignore", UserWarning)
        return model.fit_predict(centred_unit_rows(x))


def ward(x: np.ndarray, k: int, seed: int) -> Labels:
    """Agglomerative clustering by Ward's criterion; it has no seed."""
    return AgglomerativeClustering(k).fit_predict(centred_unit_rows(x))


def whitened_kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """k-means on embeddings whitened by near neighbours, the best of ten starts."""
    return KMeans(k, n_init=10, random_state=seed).fit_predict(whitened(x, seed))


def whitened_ward(x: np.ndarray, k: int, seed: int) -> Labels:
    """Ward's criterion on the same."""
    return AgglomerativeClustering(k).fit_predict(whitened(x, seed))


def doubly_stochastic(x: np.ndarray, k: int, seed: int) -> Labels:
    """Spectral clustering on the dense membership of the embeddings, untrained."""
    return _by_dense_membership(torch.from_numpy(centred_unit_rows(x)), k, seed, ETA)


def reference(x: np.ndarray, k: int, seed: int) -> Labels:
    """The paper's recipe, its clusters read off the dense membership of all rows."""
    c = train(x, Recipe(**{**REFERENCE, "seed": seed})).c
    return _by_dense_membership(torch.from_numpy(c), k, seed, REFERENCE["eta"])


def untrained(x: np.ndarray, k: int, seed: int) -> Labels:
    """Our pipeline from principal directions."""
    return _fit(start(x, seed), k, seed).labels(k)


def ours(x: np.ndarray, k: int, seed: int) -> Labels:
    """Our pipeline by default settings."""
    return _fitted(x, k, seed).labels(k)


def hierarchy_code(x: np.ndarray, k: int, seed: int) -> Labels:
    """The same, merging what adds least to the whole code."""
    told = _fitted(x, k, seed)
    return told.assign(told.levels("code").cut(k))[0]


def hierarchy(x: np.ndarray, k: int, seed: int) -> Labels:
    """The same, its finest clusters merged down to k."""
    told = _fitted(x, k, seed)
    return told.assign(told.levels().cut(k))[0]


METHODS: dict[str, Method] = {
    "kmeans": kmeans,
    "spherical_kmeans": spherical_kmeans,
    "spectral_cosine": spectral_cosine,
    "spectral_10nn": spectral_neighbours,
    "ward": ward,
    "doubly_stochastic": doubly_stochastic,
    "whitened_kmeans": whitened_kmeans,
    "whitened_ward": whitened_ward,
    "reference": reference,
    "untrained": untrained,
    "ours": ours,
    "hierarchy": hierarchy,
    "hierarchy_code": hierarchy_code,
}


USUAL = tuple(name for name in METHODS if not name.startswith(("reference", "hierarchy")))
"""What runs unless methods are named: within half an hour on two cores."""

SETTINGS: dict[str, Any] = {}
"""Settings of ours that differ from the defaults, for questions about one of them."""

_all_fitted: dict[tuple[int, int], Fitted] = {}
"""By embeddings and seed, so that nothing is trained twice."""


def _fitted(x: np.ndarray, k: int, seed: int) -> Fitted:
    if (id(x), seed) not in _all_fitted:
        features = train(x, Recipe(**{**SETTINGS, "seed": seed}))
        told = _all_fitted[id(x), seed] = _fit(features, k, seed)
        print(f"{'':<24}seed {seed}: kept {features.kept}; {told.affinity}", flush=True)
    return _all_fitted[id(x), seed]


def _fit(features: Features, k: int, seed: int) -> Fitted:
    return Fitted.of(features, Spectrum(seed=seed), k)


def _by_dense_membership(c: torch.Tensor, k: int, seed: int, eta: float) -> Labels:
    pi = membership((c @ c.T).abs(), eta=eta).numpy()
    _, vectors = spectral.leading_eigenpairs(pi, k, seed)
    return spectral.cluster_rows(spectral.spectral_rows(vectors, k), k, seed, RESTARTS)[0]


def ours_unknown(told: Fitted) -> Partition:
    """The k with the shortest code."""
    return told.landmarks.partition(told.choice(resamples=0).k)


def hierarchy_unknown(told: Fitted) -> Partition:
    """The level with the shortest code."""
    levels = told.levels()
    return levels.cut(levels.shortest)


UNKNOWN: dict[str, Callable[[Fitted], Partition]] = {
    "ours": ours_unknown,
    "hierarchy": hierarchy_unknown,
}
"""How the methods that find k themselves do so."""


def _mean_std(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values))


def score(
    path: Path, methods: Sequence[str], seeds: int, *, is_unknown_asked: bool = True
) -> dict[str, dict[str, Any]]:
    """Scores of all methods on one set, printed as they come."""
    x, y = load(path)
    k = int(y.max()) + 1
    print(f"\n{path.stem}: {len(x):,} rows, {k} classes")
    print(f"{'method':<24}{'ACC':>14}{'NMI':>14}{'ARI':>14}{'seconds':>9}")
    table: dict[str, dict[str, Any]] = {}
    for name in methods:
        found, began = [], time.perf_counter()
        for seed in range(seeds):
            found.append(_scores(y, METHODS[name](x, k, seed)))
        seconds = (time.perf_counter() - began) / seeds
        _row(table, name, np.array(found), seconds)
    for name in [one for one in methods if one in UNKNOWN and is_unknown_asked]:
        chosen, found, began = [], [], time.perf_counter()
        for seed in range(seeds):
            told = _fitted(x, k, seed)
            partition = UNKNOWN[name](told)
            chosen.append(partition.k)
            found.append(_scores(y, told.assign(partition)[0]))
        seconds = (time.perf_counter() - began) / seeds
        _row(table, f"{name}, k unknown", np.array(found), seconds)
        table[f"{name}, k unknown"]["k"] = float(np.mean(chosen))
        print(f"{'':<24}k found: {', '.join(map(str, chosen))}")
    if "ours" in methods:
        tenths, ece = _by_confidence(x, y, k, seeds)
        table["ours"]["acc_by_confidence"] = [round(one, 3) for one in tenths]
        table["ours"]["ece"] = round(ece, 4)
        print("ours, ACC by tenths of confidence, the least sure first:")
        print(f"{'':<24}{' '.join(f'{one:.3f}' for one in tenths)}   ECE {ece:.3f}", flush=True)
    return table


def _scores(y: np.ndarray, labels: Labels) -> list[float]:
    return [measure(y, labels) for measure in (metrics.accuracy, metrics.nmi, metrics.ari)]


def _by_confidence(x: np.ndarray, y: np.ndarray, k: int, seeds: int) -> tuple[list[float], float]:
    """Accuracy in each tenth of the rows by rising confidence, and the expected calibration error.

    Both are means over seeds.
    """
    found, errors = [], []
    for seed in range(seeds):
        told = _fitted(x, k, seed)
        labels, confidences = told.assign(told.landmarks.partition(k))
        tenths = metrics.by_confidence(y, labels, confidences)
        found.append(tenths.accuracy)
        errors.append(np.mean(np.abs(np.subtract(tenths.accuracy, tenths.confidence))))
    return np.mean(found, axis=0).tolist(), float(np.mean(errors))


def _row(table: dict, name: str, found: np.ndarray, seconds: float) -> None:
    cells = [(float(one.mean()), float(one.std())) for one in found.T]
    told = "".join(f"{mean:>8.3f} ±{std:.3f}" for mean, std in cells)
    print(f"{name:<24}{told}{seconds:>9.1f}", flush=True)
    table[name] = {
        f"{measure}{suffix}": round(value, 4)
        for measure, cell in zip(("acc", "nmi", "ari"), cells, strict=True)
        for suffix, value in zip(("", "_std"), cell, strict=True)
    }


def main() -> None:
    """Prints a table a set and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("paths", nargs="*", type=Path, help=".npz files of x and y")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", default=",".join(USUAL))
    parser.add_argument("--set", action="append", default=[], help="a setting of ours, as gamma=2")
    parser.add_argument("--known", action="store_true", help="leave out what finds k itself")
    told = parser.parse_args()
    SETTINGS.update(parse_settings(told.set))
    paths = told.paths or SETS
    print(f"clusters of embeddings, k given, {told.seeds} seed(s)\n{machine()}")
    if SETTINGS:
        print(f"ours with {SETTINGS}: not its default settings")
    methods = told.methods.split(",")
    found = {
        path.stem: score(path, methods, told.seeds, is_unknown_asked=not told.known)
        for path in paths
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
