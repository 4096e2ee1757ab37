"""Clusters of real embeddings by several methods, scored over all rows against labels.

    python -m benchmarks.quality                       # the sets in ../shared, 5 seeds
    python -m benchmarks.quality --seeds 1 my.npz      # any .npz of x, y
    python -m benchmarks.quality --methods ours --set gamma=2 --set eta=0.1

Every method gets the same embeddings and the true number of clusters; `ours` has cpp-pipe's default
settings on every set, and no label enters any method. `untrained` is the same pipeline before its
training. With k unknown, `ours` chooses it by the coding length.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering

from cpp_pipe.stages.algorithms import consensus, metrics, spectral
from cpp_pipe.stages.algorithms.coding_length import coding_length
from cpp_pipe.stages.algorithms.heads import centred_unit_rows
from cpp_pipe.stages.algorithms.merging import cluster_and_join
from cpp_pipe.stages.algorithms.recipe import REFERENCE, Recipe
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.algorithms.stopping import Watch, train_watched
from cpp_pipe.stages.algorithms.training import Trainer, project
from cpp_pipe.stages.landmarks import RESTARTS, clustering_rows
from cpp_pipe.stages.select_k import default_grid
from cpp_pipe.stages.spectrum import Spectrum

from .measure import machine

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "clip_vitb32"
SETS = ("caltech101", "oxford_pets", "ucf101")
ETA = 0.1
"""Temperature of the untrained doubly stochastic baseline: the better one of those in method.md."""

Labels = np.ndarray
Method = Callable[[np.ndarray, int, int], Labels]
"""Embeddings (n, d), number of clusters, seed: labels (n,)."""


def centred(x: np.ndarray) -> np.ndarray:
    """Unit rows about their mean."""
    away = x - x.mean(axis=0)
    return away / np.linalg.norm(away, axis=1, keepdims=True)


def kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """k-means on centred unit rows, the best of ten starts."""
    return KMeans(k, n_init=10, random_state=seed).fit_predict(centred(x))


def spherical_kmeans(x: np.ndarray, k: int, seed: int) -> Labels:
    """Lloyd's iteration by cosine, with unit centroids, from a k-means++ start."""
    rows = centred(x)
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
    rows = centred(x)
    affinity = np.maximum(rows @ rows.T, 0)
    model = SpectralClustering(k, affinity="precomputed", random_state=seed)
    return model.fit_predict(affinity)


def spectral_neighbours(x: np.ndarray, k: int, seed: int) -> Labels:
    """The same on each row's ten nearest neighbours."""
    model = SpectralClustering(k, affinity="nearest_neighbors", n_neighbors=10, random_state=seed)
    with warnings.catch_warnings():
        # A graph of several pieces is meant to be clustered as it is.
        warnings.simplefilter("ignore", UserWarning)
        return model.fit_predict(centred(x))


def ward(x: np.ndarray, k: int, seed: int) -> Labels:
    """Agglomerative clustering by Ward's criterion; it has no seed."""
    return AgglomerativeClustering(k).fit_predict(centred(x))


def doubly_stochastic(x: np.ndarray, k: int, seed: int) -> Labels:
    """Spectral clustering on the dense membership of the embeddings, untrained."""
    rows = torch.from_numpy(centred(x))
    pi = membership((rows @ rows.T).abs(), eta=ETA).numpy()
    _, vectors = spectral.leading_eigenpairs(pi, k, seed)
    return spectral.cluster_rows(spectral.spectral_rows(vectors, k), k, seed, RESTARTS)[0]


def reference(x: np.ndarray, k: int, seed: int) -> Labels:
    """The paper's recipe, its clusters read off the dense membership of all rows."""
    heads = _train(x, Recipe(**{**REFERENCE, "seed": seed}))
    pi = membership((heads.c @ heads.c.T).abs(), eta=REFERENCE["eta"]).numpy()
    _, vectors = spectral.leading_eigenpairs(pi, k, seed)
    return spectral.cluster_rows(spectral.spectral_rows(vectors, k), k, seed, RESTARTS)[0]


def untrained(x: np.ndarray, k: int, seed: int) -> Labels:
    """Our pipeline with the heads as they start."""
    trainer = Trainer(torch.from_numpy(x), Recipe(seed=seed).trials[0], "cpu")
    z, c = project(trainer.finish(), trainer.x, 1024)
    return _by_consensus(x, z.float().numpy(), c.float().numpy(), seed).labels(k)


def ours(x: np.ndarray, k: int, seed: int) -> Labels:
    """Our pipeline by default settings."""
    return _spectrum(x, seed).labels(k)


METHODS: dict[str, Method] = {
    "kmeans": kmeans,
    "spherical_kmeans": spherical_kmeans,
    "spectral_cosine": spectral_cosine,
    "spectral_10nn": spectral_neighbours,
    "ward": ward,
    "doubly_stochastic": doubly_stochastic,
    "reference": reference,
    "untrained": untrained,
    "ours": ours,
}


class _Features(NamedTuple):
    z: torch.Tensor
    c: torch.Tensor
    kept: str


class _Consensus(NamedTuple):
    """What a spectrum holds, without a store."""

    x: np.ndarray
    z: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    seed: int

    def cluster(self, k: int) -> tuple[Labels, np.ndarray]:
        rows = spectral.spectral_rows(self.vectors, k)
        return spectral.cluster_rows(rows, k, self.seed, RESTARTS)

    def labels(self, k: int) -> Labels:
        x = centred_unit_rows(self.x)
        pieces, _, group = cluster_and_join(x, self.cluster, k, len(self.values), self.seed)
        return group[pieces]


SETTINGS: dict[str, Any] = {}
"""Settings of ours that differ from the defaults, for questions about one of them."""

_spectra: dict[tuple[int, int], _Consensus] = {}
"""By embeddings and seed, so that k unknown does not train again."""


def _spectrum(x: np.ndarray, seed: int) -> _Consensus:
    if (id(x), seed) not in _spectra:
        told = _train(x, Recipe(**{**SETTINGS, "seed": seed}))
        print(f"{'':<20}seed {seed}: kept {told.kept}", flush=True)
        _spectra[id(x), seed] = _by_consensus(x, told.z.numpy(), told.c.numpy(), seed)
    return _spectra[id(x), seed]


def _train(x: np.ndarray, recipe: Recipe) -> _Features:
    best: tuple[float, Trainer, Watch] | None = None
    for trial in recipe.trials:
        trainer = Trainer(torch.from_numpy(x), trial, "cpu")
        watch = Watch(trial, trainer)
        train_watched(trainer, watch)
        if best is None or watch.best > best[0]:
            best = watch.best, trainer, watch
    assert best is not None
    _, trainer, watch = best
    watch.restore()
    z, c = project(trainer.finish(), trainer.x, 1024)
    return _Features(z.float(), c.float(), f"eta {trainer.recipe.eta}, step {watch.kept_step}")


def _by_consensus(x: np.ndarray, z: np.ndarray, c: np.ndarray, seed: int) -> _Consensus:
    stage = Spectrum(seed=seed)
    points = clustering_rows(z, c)
    most = stage.eigenvectors(len(x))
    counts = consensus.cell_counts(len(x), most, stage.clusterings)
    cells = consensus.fit_cells(points, counts, seed)
    found = consensus.find_cells(points, cells)
    values, vectors = consensus.consensus_eigenpairs(found, len(cells.centroids), most, seed)
    return _Consensus(x, z, values, vectors, seed)


def choose_k(told: _Consensus) -> tuple[int, Labels]:
    """The k with the shortest code over the default grid, and its labels."""
    rows = torch.from_numpy(told.z)
    best: tuple[float, int] | None = None
    for k in default_grid(len(told.values)):
        labels = torch.from_numpy(told.cluster(k)[0])
        length = float(coding_length(rows, labels, k, eps_sq=0.1).total)
        best = min(best or (length, k), (length, k))
    assert best is not None
    return best[1], told.labels(best[1])


def _mean_std(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values))


def score(path: Path, methods: Sequence[str], seeds: int) -> dict[str, dict[str, float]]:
    """Scores of all methods on one set, printed as they come."""
    with np.load(path, allow_pickle=False) as file:
        x, y = file["x"].astype(np.float32), np.unique(file["y"], return_inverse=True)[1]
    k = int(y.max()) + 1
    print(f"\n{path.stem}: {len(x):,} rows, {k} classes")
    print(f"{'method':<20}{'ACC':>14}{'NMI':>14}{'ARI':>14}{'seconds':>9}")
    table: dict[str, dict[str, float]] = {}
    for name in methods:
        found, began = [], time.perf_counter()
        for seed in range(seeds):
            labels = METHODS[name](x, k, seed)
            found.append([f(y, labels) for f in (metrics.accuracy, metrics.nmi, metrics.ari)])
        seconds = (time.perf_counter() - began) / seeds
        _row(table, name, np.array(found), seconds)
    if "ours" in methods:
        chosen, found = [], []
        for seed in range(seeds):
            best, labels = choose_k(_spectrum(x, seed))
            chosen.append(best)
            found.append([f(y, labels) for f in (metrics.accuracy, metrics.nmi, metrics.ari)])
        _row(table, "ours, k unknown", np.array(found), float("nan"))
        table["ours, k unknown"]["k"] = float(np.mean(chosen))
        print(f"{'':<20}k found: {', '.join(map(str, chosen))}")
    return table


def _row(table: dict, name: str, found: np.ndarray, seconds: float) -> None:
    cells = [_mean_std(column) for column in found.T.tolist()]
    told = "".join(f"{mean:>8.3f} ±{std:.3f}" for mean, std in cells)
    print(f"{name:<20}{told}{seconds:>9.1f}", flush=True)
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
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--set", action="append", default=[], help="a setting of ours, as gamma=2")
    told = parser.parse_args()
    for one in told.set:
        name, _, value = one.partition("=")
        SETTINGS[name] = json.loads(value)
    paths = told.paths or [SHARED / f"{name}.npz" for name in SETS]
    print(f"clusters of embeddings, k given, {told.seeds} seed(s)\n{machine()}")
    if SETTINGS:
        print(f"ours with {SETTINGS}: not its default settings")
    methods = told.methods.split(",")
    print(json.dumps({path.stem: score(path, methods, told.seeds) for path in paths}))


if __name__ == "__main__":
    main()
