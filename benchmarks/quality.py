"""Clusters of real embeddings by several methods, scored against labels.

    python -m benchmarks.quality                       # the sets in ../shared, 5 seeds
    python -m benchmarks.quality --seeds 1 my.npz      # any .npz of x, y
    python -m benchmarks.quality --methods ours --set gamma=2 --set eta=0.1

Every method gets the same embeddings and the true number of clusters, and no labels. `ours` has
cpp-pipe's default settings on every set. `whitened_kmeans` and `whitened_ward` are baselines on our
start; `untrained` is our pipeline from principal directions, without whitening and training. More
methods run when named: `reference`, the paper's recipe; `hierarchy`, ours with its finest clusters
merged. With k unknown, ours uses the k of `select-k`. `ece` is the expected calibration error: the
mean distance of confidence and accuracy over tenths of the rows.
"""

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
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.algorithms.training_config import REFERENCE, TrainingConfig
from cpp_pipe.stages.spectrum import Spectrum

from .measure import argument_parser, machine, parse_arguments
from .ours import SETS, TINY, Features, Fitted, load, parse_settings, start, train, whitened

ETA = 0.1
"""Temperature of the untrained doubly stochastic baseline: the best of those tried."""

Labels = np.ndarray
Method = Callable[[np.ndarray, int, int], Labels]
"""Embeddings (n, d), number of clusters, seed: labels (n,)."""


def kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """k-means on centred unit rows, the best of ten starts."""
    return KMeans(k, n_init=10, random_state=seed).fit_predict(centred_unit_rows(x))


def spherical_kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """Lloyd's iterations by cosine, with unit centroids, from a k-means++ start."""
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
    """scikit-learn's spectral clustering on cosines; negative ones count as 0."""
    rows = centred_unit_rows(x)
    affinity = np.maximum(rows @ rows.T, 0)
    model = SpectralClustering(k, affinity="precomputed", random_state=seed)
    return model.fit_predict(affinity)


def spectral_neighbours(x: np.ndarray, k: int, seed: int) -> Labels:
    """scikit-learn's spectral clustering on a ten-neighbour graph."""
    model = SpectralClustering(k, affinity="nearest_neighbors", n_neighbors=10, random_state=seed)
    with warnings.catch_warnings():
        # It warns if the graph is not connected.
        warnings.simplefilter("ignore", UserWarning)
        return model.fit_predict(centred_unit_rows(x))


def ward(x: np.ndarray, k: int, seed: int) -> Labels:
    """Agglomerative clustering by Ward's criterion; it ignores the seed."""
    return AgglomerativeClustering(k).fit_predict(centred_unit_rows(x))


def whitened_kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """k-means on embeddings whitened by near neighbours, the best of ten starts."""
    return KMeans(k, n_init=10, random_state=seed).fit_predict(whitened(x, seed))


def whitened_ward(x: np.ndarray, k: int, seed: int) -> Labels:
    """Ward's criterion on embeddings whitened by near neighbours."""
    return AgglomerativeClustering(k).fit_predict(whitened(x, seed))


def doubly_stochastic(x: np.ndarray, k: int, seed: int) -> Labels:
    """Spectral clustering on the dense membership of the embeddings, untrained."""
    return _by_dense_membership(torch.from_numpy(centred_unit_rows(x)), k, seed, ETA)


def reference(x: np.ndarray, k: int, seed: int) -> Labels:
    """The paper's recipe, clustered by the dense membership of all rows."""
    c = train(x, TrainingConfig(**{**REFERENCE, "seed": seed})).c
    return _by_dense_membership(torch.from_numpy(c), k, seed, REFERENCE["eta"])


def untrained(x: np.ndarray, k: int, seed: int) -> Labels:
    """Our pipeline from principal directions."""
    return _fit(start(x, seed), k, seed).labels(k)


def ours(x: np.ndarray, k: int, seed: int) -> Labels:
    """Our pipeline with default settings."""
    return _fitted(x, k, seed).labels(k)


def hierarchy_code(x: np.ndarray, k: int, seed: int) -> Labels:
    """Ours, its finest clusters merged down to k by the growth of the whole code."""
    fitted = _fitted(x, k, seed)
    return fitted.assign(fitted.levels("code").cut(k))[0]


def hierarchy(x: np.ndarray, k: int, seed: int) -> Labels:
    """Ours, its finest clusters merged down to k."""
    fitted = _fitted(x, k, seed)
    return fitted.assign(fitted.levels().cut(k))[0]


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
"""The methods that run by default, within half an hour on two cores."""

SETTINGS: dict[str, Any] = {}
"""Settings of ours that are not default."""

_all_fitted: dict[tuple[int, int], Fitted] = {}
"""By embeddings and seed: nothing is trained twice."""


def _fitted(x: np.ndarray, k: int, seed: int) -> Fitted:
    if (id(x), seed) not in _all_fitted:
        features = train(x, TrainingConfig(**{**SETTINGS, "seed": seed}))
        fitted = _all_fitted[id(x), seed] = _fit(features, k, seed)
        print(f"{'':<24}seed {seed}: kept {features.kept}; {fitted.affinity}", flush=True)
    return _all_fitted[id(x), seed]


def _fit(features: Features, k: int, seed: int) -> Fitted:
    return Fitted.of(features, Spectrum(seed=seed), k)


def _by_dense_membership(c: torch.Tensor, k: int, seed: int, eta: float) -> Labels:
    pi = membership((c @ c.T).abs(), eta=eta).numpy()
    _, vectors = spectral.leading_eigenpairs(pi, k, seed)
    return spectral.cluster_rows(spectral.spectral_rows(vectors, k), k, seed, RESTARTS)[0]


def ours_unknown(fitted: Fitted) -> Partition:
    """Clusters at the k of `select-k`."""
    return fitted.landmarks.partition(fitted.choice(resamples=0).k)


def hierarchy_unknown(fitted: Fitted) -> Partition:
    """The level with the shortest code."""
    levels = fitted.levels()
    return levels.cut(levels.shortest)


UNKNOWN: dict[str, Callable[[Fitted], Partition]] = {
    "ours": ours_unknown,
    "hierarchy": hierarchy_unknown,
}
"""Methods that find k."""


def score(
    path: Path, methods: Sequence[str], seeds: int, *, finds_k: bool = True
) -> dict[str, dict[str, Any]]:
    """Scores of all methods on one set, printed one by one."""
    x, y = load(path)
    k = int(y.max()) + 1
    print(f"\n{path.stem}: {len(x):,} rows, {k} classes")
    print(f"{'method':<24}{'ACC':>14}{'NMI':>14}{'ARI':>14}{'seconds':>9}")
    table: dict[str, dict[str, Any]] = {}
    for name in methods:
        scores, began = [], time.perf_counter()
        for seed in range(seeds):
            scores.append(_scores(y, METHODS[name](x, k, seed)))
        seconds = (time.perf_counter() - began) / seeds
        _add_row(table, name, np.array(scores), seconds)
    for name in [method for method in methods if method in UNKNOWN and finds_k]:
        chosen, scores, began = [], [], time.perf_counter()
        for seed in range(seeds):
            fitted = _fitted(x, k, seed)
            partition = UNKNOWN[name](fitted)
            chosen.append(partition.k)
            scores.append(_scores(y, fitted.assign(partition)[0]))
        seconds = (time.perf_counter() - began) / seeds
        _add_row(table, f"{name}, k unknown", np.array(scores), seconds)
        table[f"{name}, k unknown"]["k"] = float(np.mean(chosen))
        print(f"{'':<24}k found: {', '.join(map(str, chosen))}")
    if "ours" in methods:
        tenths, ece = _by_confidence(x, y, k, seeds)
        table["ours"]["acc_by_confidence"] = [round(acc, 3) for acc in tenths]
        table["ours"]["ece"] = round(ece, 4)
        print("ours, ACC by tenths of the rows, from the least to the most confident:")
        print(f"{'':<24}{' '.join(f'{acc:.3f}' for acc in tenths)}   ECE {ece:.3f}", flush=True)
    return table


def _scores(y: np.ndarray, labels: Labels) -> list[float]:
    return [measure(y, labels) for measure in (metrics.accuracy, metrics.nmi, metrics.ari)]


def _by_confidence(x: np.ndarray, y: np.ndarray, k: int, seeds: int) -> tuple[list[float], float]:
    """Accuracy in each tenth of the rows by rising confidence, and the expected calibration error.

    Both are means over seeds.
    """
    accuracies, errors = [], []
    for seed in range(seeds):
        fitted = _fitted(x, k, seed)
        labels, confidences = fitted.assign(fitted.landmarks.partition(k))
        tenths = metrics.by_confidence(y, labels, confidences)
        accuracies.append(tenths.accuracy)
        errors.append(np.mean(np.abs(np.subtract(tenths.accuracy, tenths.confidence))))
    return np.mean(accuracies, axis=0).tolist(), float(np.mean(errors))


def _add_row(table: dict, name: str, scores: np.ndarray, seconds: float) -> None:
    """Prints and adds means and standard deviations of scores (seeds, 3)."""
    cells = [(float(column.mean()), float(column.std())) for column in scores.T]
    row = "".join(f"{mean:>8.3f} ±{std:.3f}" for mean, std in cells)
    print(f"{name:<24}{row}{seconds:>9.1f}", flush=True)
    table[name] = {
        f"{measure}{suffix}": round(value, 4)
        for measure, cell in zip(("acc", "nmi", "ari"), cells, strict=True)
        for suffix, value in zip(("", "_std"), cell, strict=True)
    }


def main() -> None:
    """Prints a table for each set, and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=SETS, help=".npz files of x and y")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", default=",".join(USUAL))
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of ours"
    )
    parser.add_argument("--known", action="store_true", help="leave out methods that find k")
    arguments = parse_arguments(parser, paths=[TINY], seeds=1, methods=",".join(METHODS))
    SETTINGS.update(parse_settings(arguments.set))
    print(f"clusters of embeddings, k given, {arguments.seeds} seed(s)\n{machine()}")
    if SETTINGS:
        print(f"ours with {SETTINGS}: not the default settings")
    methods = arguments.methods.split(",")
    table = {
        path.stem: score(path, methods, arguments.seeds, finds_k=not arguments.known)
        for path in arguments.paths
    }
    print(json.dumps(table))


if __name__ == "__main__":
    main()
