"""How many clusters: what `select-k` takes, where the number is known, and what rivals take.

    python -m benchmarks.how_many                         # planted subspaces, three sets of photos
    python -m benchmarks.how_many --planted "" --untrained my.npz
    python -m benchmarks.how_many --landmarks             # and what fewer landmarks cost
    python -m benchmarks.how_many --settings-only         # only fewer rows and fewer classes

Planted: unions of subspaces whose sizes go from 1 to 10, without and with outliers. `groups` are
the clusters that are not loose: outliers, like nothing else, should all end up in loose ones.

Photographs: ours with default settings, trained once; every other rule sees the same centred
embeddings. ACC is of our clusters at our k, and of k-means at each other k.

Landmarks: clusters of all rows by the membership of some, against those by the membership of all,
at the true k, as adjusted Rand index. That of two seeds of the latter bounds what can be expected.

Settings: of each set all rows, half of them, and all rows of some classes drawn at random; heads as
they start. Leiden sees whitened embeddings, BIC of k-means centred ones.
"""

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from sklearn.cluster import KMeans

from cpp_pipe.stages.algorithms.clustering.choice import Choice
from cpp_pipe.stages.algorithms.clustering.communities import count_communities
from cpp_pipe.stages.algorithms.clustering.sampling import choose_rows
from cpp_pipe.stages.algorithms.heads import centred_unit_rows
from cpp_pipe.stages.algorithms.metrics import accuracy, ari
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.select_k import SelectK
from cpp_pipe.stages.spectrum import Spectrum

from .measure import machine
from .ours import SETS, Features, Fitted, load, start, train, whitened
from .planted import planted
from .rules import RESTARTS, bic, equal_ratios, number_of_clusters

PLANTED = "5,20,100"
OUTLIERS = (0.0, 0.1)
MOST = 150
"""The largest k of the rivals' grid."""
SEED = 0
LANDMARK_GROUPS = 20
SHARES = (2, 4)
"""Of the rows one in so many is a landmark."""
FEWER_CLASSES = (10, 20, 50)


def _range(found: Choice) -> str:
    as_good = found.verdict.as_good
    return f"{as_good[0]}..{as_good[-1]}" if found.verdict.is_flat else "-"


def on_planted(groups: Sequence[int], rows: int, resamples: int) -> dict[str, Any]:
    """The k that is found for each number of subspaces."""
    print(f"\nplanted subspaces, {rows:,} rows, sizes 1 to 10")
    print(
        f"{'true k':>7} {'outliers':>9} {'k':>5} {'loose':>6} {'groups':>7} {'as good':>9} "
        f"{'affinity':>11} {'ACC':>6} {'seconds':>8}"
    )
    line: dict[str, Any] = {}
    for k in groups:
        for share in OUTLIERS:
            x, y = planted(k, rows, outliers=share, seed=SEED)
            began = time.perf_counter()
            told = Fitted.of(Features(x, x, x), Spectrum(seed=SEED))
            found = told.choice(resamples)
            seconds = time.perf_counter() - began
            chosen, inside = found.k, y >= 0
            acc = accuracy(y[inside], told.labels(chosen)[inside])
            line[f"{k}, outliers {share:g}"] = {
                "k": chosen,
                "rule": found.rule,
                "saved": round(found.saved, 3),
                "loose": found.loose,
                "groups": chosen - found.loose,
                "as_good": list(found.verdict.as_good),
                "affinity": told.affinity,
                "acc": round(acc, 4),
                "seconds": round(seconds, 1),
            }
            print(
                f"{k:>7} {share:>9.0%} {chosen:>5} {found.loose:>6} {chosen - found.loose:>7} "
                f"{_range(found):>9} {told.affinity:>11} {acc:>6.3f} {seconds:>8.1f}",
                flush=True,
            )
    return line


def on_set(path: Path, resamples: int, *, is_trained: bool) -> dict[str, Any]:
    """What each rule takes on real embeddings, and how good clusters of so many are."""
    x, y = load(path)
    true_k = int(y.max()) + 1
    print(f"\n{path.stem}: {len(x):,} rows, {true_k} classes")
    features = train(x, TrainingConfig(seed=SEED)) if is_trained else start(x, SEED)
    told = Fitted.of(features, Spectrum(seed=SEED), true_k)
    choice = told.choice(resamples)
    name = "ours" if is_trained else "ours, untrained"
    print(
        f"{name}: kept {features.kept}; {told.affinity}; the code saves {choice.saved:.1%}; "
        f"{choice.rule} decides; {choice.loose} loose; "
        f"as good: {_range(choice)}"
    )
    unit = centred_unit_rows(x)

    def by_kmeans(k: int) -> float:
        return accuracy(y, KMeans(max(1, k), n_init=10, random_state=SEED).fit_predict(unit))

    code = choice.verdict.chosen
    rivals = number_of_clusters(unit, equal_ratios(min(MOST, len(x) // 4)), SEED)
    rows = [
        (name, choice.k, accuracy(y, told.labels(choice.k))),
        (f"{name}, the shortest code", code, accuracy(y, told.labels(code))),
        *((rule, k, by_kmeans(k)) for rule, k in rivals.items()),
        (f"{name}, the true k", true_k, accuracy(y, told.labels(true_k))),
        ("k-means, the true k", true_k, by_kmeans(true_k)),
    ]
    print(f"{'rule':<26}{'k':>6}{'of the true k':>15}{'ACC':>8}")
    for rule, k, acc in rows:
        print(f"{rule:<26}{k:>6}{k / true_k:>15.2f}{acc:>8.3f}", flush=True)
    found = {
        rule: {"k": k, "ratio": round(k / true_k, 3), "acc": round(acc, 4)} for rule, k, acc in rows
    }
    found[name] |= {
        "decided_by": choice.rule,
        "saved": round(choice.saved, 3),
        "loose": choice.loose,
        "as_good": list(choice.verdict.as_good),
        "affinity": told.affinity,
        "kept": features.kept,
    }
    return {"true_k": true_k, "rules": found}


def with_fewer_landmarks(features: Features, k: int) -> dict[str, float]:
    """ARI of clusters by some landmarks with those by all rows, and between seeds of the latter."""
    n = len(features.x)

    def labels(landmarks: int, seed: int) -> ndarray:
        stage = Spectrum(landmarks=landmarks, affinity="membership", k_max=k, seed=seed)
        return Fitted.of(features, stage).labels(k)

    everything = labels(n, SEED)
    told = {f"1/{share}": ari(everything, labels(n // share, SEED)) for share in SHARES}
    return {**told, "all, another seed": ari(everything, labels(n, SEED + 1))}


def on_landmarks(path: Path, rows: int) -> dict[str, dict[str, float]]:
    """The same on a real set and on planted subspaces."""
    x, y = load(path)
    z, _ = planted(LANDMARK_GROUPS, rows, seed=SEED)
    print("\nclusters by fewer landmarks, ARI with those by all rows")
    print(
        f"{'rows':<30}" + "".join(f"{f'1/{share}':>8}" for share in SHARES) + "  all, another seed"
    )
    line = {}
    for name, features, k in (
        (f"{path.stem}, {len(x):,}, untrained", start(x, SEED), int(y.max()) + 1),
        (f"planted, {rows:,}", Features(z, z, z), LANDMARK_GROUPS),
    ):
        told = with_fewer_landmarks(features, k)
        print(f"{name:<30}" + "".join(f"{one:>8.4f}" for one in told.values()), flush=True)
        line[name] = {which: round(one, 4) for which, one in told.items()}
    return line


def settings_of(y: ndarray) -> Iterator[tuple[str, ndarray]]:
    """All rows, half of them, and the rows of fewer classes: a name and the row numbers."""
    n, classes = len(y), int(y.max()) + 1
    yield "all rows", np.arange(n)
    yield "half of the rows", choose_rows(n, n // 2, SEED)
    for count in FEWER_CLASSES:
        if count < classes:
            kept = choose_rows(classes, count, SEED)
            yield f"{count} classes", np.flatnonzero(np.isin(y, kept))


def in_a_setting(x: ndarray) -> dict[str, int]:
    """The k of each rule; without Leiden's where igraph is not installed."""
    ours = Fitted.of(start(x, SEED), Spectrum(seed=SEED)).choice(0).k
    unit, grid = centred_unit_rows(x), equal_ratios(min(MOST, len(x) // 4))
    by_bic = bic(unit, [KMeans(k, n_init=RESTARTS, random_state=SEED).fit(unit) for k in grid])
    found = {"ours, untrained": ours, "BIC of k-means": by_bic}
    communities = count_communities(whitened(x, SEED), SEED)
    if communities is not None:
        found["Leiden"] = communities
        found["BIC and Leiden"] = round(math.sqrt(by_bic * communities))
    return found


def on_settings(paths: Sequence[Path]) -> dict[str, Any]:
    """Prints the k of each rule in each setting; `BIC and Leiden` is their geometric mean."""
    line: dict[str, Any] = {}
    ratios: dict[str, list[float]] = {}
    print("\nfewer rows and fewer classes")
    for path in paths:
        x, y = load(path)
        for name, rows in settings_of(y):
            true_k, found = len(np.unique(y[rows])), in_a_setting(x[rows])
            if not line:
                print(f"{'set':<16}{'setting':<18}{'rows':>6}{'true k':>8}" + _cells(found))
            print(
                f"{path.stem:<16}{name:<18}{len(rows):>6,}{true_k:>8}" + _cells(found.values()),
                flush=True,
            )
            line[f"{path.stem}, {name}"] = {"rows": len(rows), "true_k": true_k, "k": found}
            for rule, k in found.items():
                ratios.setdefault(rule, []).append(k / true_k)
    errors = mean_abs_log2(ratios)
    print(f"{'mean |log2(k / true k)|':<48}" + _cells(f"{one:.2f}" for one in errors.values()))
    return {"settings": line, "mean_abs_log2": errors}


def mean_abs_log2(ratios: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How far k is off on average by rule, in doublings."""
    return {
        rule: round(float(np.abs(np.log2(values)).mean()), 3) for rule, values in ratios.items()
    }


def _cells(values: Iterable[object]) -> str:
    return "".join(f"{value!s:>17}" for value in values)


def main() -> None:
    """Prints the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("paths", nargs="*", type=Path, help=".npz files of x and y")
    parser.add_argument("--planted", default=PLANTED, help=f"true k with commas, {PLANTED}")
    parser.add_argument("--rows", type=int, default=20_000, help="of each planted set")
    parser.add_argument("--resamples", type=int, default=SelectK().resamples)
    parser.add_argument("--untrained", action="store_true", help="heads as they start")
    parser.add_argument("--landmarks", action="store_true", help="compare fewer with all")
    parser.add_argument("--landmark-rows", type=int, default=15_000, help="planted ones, for that")
    parser.add_argument("--settings-only", action="store_true", help="fewer rows and classes alone")
    asked = parser.parse_args()
    print(f"the number of clusters, unknown\n{machine()}")
    paths = asked.paths or SETS
    if asked.settings_only:
        print(json.dumps(on_settings(paths)))
        return
    line: dict[str, Any] = {}
    groups = [int(one) for one in asked.planted.split(",") if one]
    if groups:
        line["planted"] = on_planted(groups, asked.rows, asked.resamples)
    for path in paths:
        line[path.stem] = on_set(path, asked.resamples, is_trained=not asked.untrained)
    if asked.landmarks:
        line["landmarks"] = on_landmarks(paths[0], asked.landmark_rows)
    line |= on_settings(paths)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
