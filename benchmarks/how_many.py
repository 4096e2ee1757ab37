"""The number of clusters by `select-k` and by rivals, on sets where it is known.

    python -m benchmarks.how_many                         # planted subspaces, three sets of photos
    python -m benchmarks.how_many --planted "" --untrained my.npz
    python -m benchmarks.how_many --landmarks             # also the cost of fewer landmarks
    python -m benchmarks.how_many --settings-only         # only fewer rows and fewer classes

Planted: unions of subspaces with sizes from 1 to 10, without and with outliers. `groups` are the
clusters that are not loose; outliers should all be in loose clusters.

Photographs: ours with default settings; every other rule gets the same centred embeddings. ACC is
of our clusters at our k, and of k-means at each other k.

Landmarks: clusters of all rows by the membership of some rows, compared with those by the
membership of all, at the true k, as adjusted Rand index (ARI). The ARI of two seeds of the latter
bounds what can be expected.

Settings: all rows of each set, half of them, and all rows of random classes; heads as they start.
Leiden gets whitened embeddings, BIC of k-means centred ones.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from sklearn.cluster import KMeans

from cpp_pipe.stages.algorithms.clustering.communities import count_communities
from cpp_pipe.stages.algorithms.clustering.k_choice import KChoice
from cpp_pipe.stages.algorithms.clustering.sampling import choose_rows
from cpp_pipe.stages.algorithms.heads import centred_unit_rows
from cpp_pipe.stages.algorithms.metrics import accuracy, ari
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.select_k import SelectK
from cpp_pipe.stages.spectrum import Spectrum

from .measure import argument_parser, machine, parse_arguments
from .ours import SETS, TINY, Features, Fitted, load, start, train, whitened
from .planted import planted
from .rules import RESTARTS, bic, equal_ratios, number_of_clusters

PLANTED = "5,20,100"
OUTLIERS = (0.0, 0.1)
MOST = 150
"""Largest k of the rivals' grid."""
SEED = 0
LANDMARK_GROUPS = 20
SHARES = (2, 4)
"""One row in this many is a landmark."""
FEWER_CLASSES = (10, 20, 50)


def _range(choice: KChoice) -> str:
    as_good = choice.verdict.as_good
    return f"{as_good[0]}..{as_good[-1]}" if choice.verdict.is_flat else "-"


def on_planted(groups: Sequence[int], rows: int, resamples: int) -> dict[str, Any]:
    """The k that `select-k` finds for each number of subspaces."""
    print(f"\nplanted subspaces, {rows:,} rows, sizes 1 to 10")
    print(
        f"{'true k':>7} {'outliers':>9} {'k':>5} {'loose':>6} {'groups':>7} {'as good':>9} "
        f"{'affinity':>11} {'ACC':>6} {'seconds':>8}"
    )
    table: dict[str, Any] = {}
    for k in groups:
        for share in OUTLIERS:
            x, y = planted(k, rows, outliers=share, seed=SEED)
            began = time.perf_counter()
            fitted = Fitted.of(Features(x, x, x), Spectrum(seed=SEED))
            choice = fitted.choice(resamples)
            seconds = time.perf_counter() - began
            chosen, inside = choice.k, y >= 0
            acc = accuracy(y[inside], fitted.labels(chosen)[inside])
            table[f"{k}, outliers {share:g}"] = {
                "k": chosen,
                "rule": choice.rule,
                "saved": round(choice.saved, 3),
                "loose": choice.loose,
                "groups": chosen - choice.loose,
                "as_good": list(choice.verdict.as_good),
                "affinity": fitted.affinity,
                "acc": round(acc, 4),
                "seconds": round(seconds, 1),
            }
            print(
                f"{k:>7} {share:>9.0%} {chosen:>5} {choice.loose:>6} {chosen - choice.loose:>7} "
                f"{_range(choice):>9} {fitted.affinity:>11} {acc:>6.3f} {seconds:>8.1f}",
                flush=True,
            )
    return table


def on_set(path: Path, resamples: int, *, is_trained: bool) -> dict[str, Any]:
    """The k of each rule on real embeddings, and the ACC of clusters at that k."""
    x, y = load(path)
    true_k = int(y.max()) + 1
    print(f"\n{path.stem}: {len(x):,} rows, {true_k} classes")
    features = train(x, TrainingConfig(seed=SEED)) if is_trained else start(x, SEED)
    fitted = Fitted.of(features, Spectrum(seed=SEED), true_k)
    choice = fitted.choice(resamples)
    name = "ours" if is_trained else "ours, untrained"
    print(
        f"{name}: kept {features.kept}; {fitted.affinity}; the code saves {choice.saved:.1%}; "
        f"{choice.rule} decides; {choice.loose} loose; "
        f"as good: {_range(choice)}"
    )
    unit = centred_unit_rows(x)

    def by_kmeans(k: int) -> float:
        return accuracy(y, KMeans(max(1, k), n_init=10, random_state=SEED).fit_predict(unit))

    code = choice.verdict.chosen
    rivals = number_of_clusters(unit, equal_ratios(min(MOST, len(x) // 4)), SEED)
    rows = [
        (name, choice.k, accuracy(y, fitted.labels(choice.k))),
        (f"{name}, the shortest code", code, accuracy(y, fitted.labels(code))),
        *((rule, k, by_kmeans(k)) for rule, k in rivals.items()),
        (f"{name}, the true k", true_k, accuracy(y, fitted.labels(true_k))),
        ("k-means, the true k", true_k, by_kmeans(true_k)),
    ]
    print(f"{'rule':<26}{'k':>6}{'of the true k':>15}{'ACC':>8}")
    for rule, k, acc in rows:
        print(f"{rule:<26}{k:>6}{k / true_k:>15.2f}{acc:>8.3f}", flush=True)
    by_rule = {
        rule: {"k": k, "ratio": round(k / true_k, 3), "acc": round(acc, 4)} for rule, k, acc in rows
    }
    by_rule[name] |= {
        "decided_by": choice.rule,
        "saved": round(choice.saved, 3),
        "loose": choice.loose,
        "as_good": list(choice.verdict.as_good),
        "affinity": fitted.affinity,
        "kept": features.kept,
    }
    return {"true_k": true_k, "rules": by_rule}


def with_fewer_landmarks(features: Features, k: int) -> dict[str, float]:
    """ARI of clusters by fewer landmarks and by all rows, and of two seeds of the latter."""
    n = len(features.x)

    def labels(landmarks: int, seed: int) -> ndarray:
        stage = Spectrum(landmarks=landmarks, affinity="membership", k_max=k, seed=seed)
        return Fitted.of(features, stage).labels(k)

    everything = labels(n, SEED)
    by_share = {f"1/{share}": ari(everything, labels(n // share, SEED)) for share in SHARES}
    return {**by_share, "all, another seed": ari(everything, labels(n, SEED + 1))}


def on_landmarks(path: Path, rows: int) -> dict[str, dict[str, float]]:
    """Prints `with_fewer_landmarks` of a real set and of planted subspaces."""
    x, y = load(path)
    z, _ = planted(LANDMARK_GROUPS, rows, seed=SEED)
    print("\nclusters by fewer landmarks, ARI with those by all rows")
    print(
        f"{'rows':<30}" + "".join(f"{f'1/{share}':>8}" for share in SHARES) + "  all, another seed"
    )
    table = {}
    for name, features, k in (
        (f"{path.stem}, {len(x):,}, untrained", start(x, SEED), int(y.max()) + 1),
        (f"planted, {rows:,}", Features(z, z, z), LANDMARK_GROUPS),
    ):
        by_share = with_fewer_landmarks(features, k)
        print(f"{name:<30}" + "".join(f"{value:>8.4f}" for value in by_share.values()), flush=True)
        table[name] = {share: round(value, 4) for share, value in by_share.items()}
    return table


def settings_of(y: ndarray) -> Iterator[tuple[str, ndarray]]:
    """All rows, half of them, and the rows of fewer classes: name and row numbers of each."""
    n, classes = len(y), int(y.max()) + 1
    yield "all rows", np.arange(n)
    yield "half of the rows", choose_rows(n, n // 2, SEED)
    for count in FEWER_CLASSES:
        if count < classes:
            kept = choose_rows(classes, count, SEED)
            yield f"{count} classes", np.flatnonzero(np.isin(y, kept))


def in_a_setting(x: ndarray) -> dict[str, int]:
    """The k of each rule; without Leiden if igraph is not installed."""
    ours = Fitted.of(start(x, SEED), Spectrum(seed=SEED)).choice(0).k
    unit, grid = centred_unit_rows(x), equal_ratios(min(MOST, len(x) // 4))
    by_bic = bic(unit, [KMeans(k, n_init=RESTARTS, random_state=SEED).fit(unit) for k in grid])
    by_rule = {"ours, untrained": ours, "BIC of k-means": by_bic}
    communities = count_communities(whitened(x, SEED), SEED)
    if communities is not None:
        by_rule["Leiden"] = communities
        by_rule["BIC and Leiden"] = round(math.sqrt(by_bic * communities))
    return by_rule


def on_settings(paths: Sequence[Path]) -> dict[str, Any]:
    """Prints the k of each rule in each setting; `BIC and Leiden` is the geometric mean."""
    table: dict[str, Any] = {}
    ratios: dict[str, list[float]] = {}
    print("\nfewer rows and fewer classes")
    for path in paths:
        x, y = load(path)
        for name, rows in settings_of(y):
            true_k, by_rule = len(np.unique(y[rows])), in_a_setting(x[rows])
            if not table:
                print(f"{'set':<16}{'setting':<18}{'rows':>6}{'true k':>8}" + _cells(by_rule))
            print(
                f"{path.stem:<16}{name:<18}{len(rows):>6,}{true_k:>8}" + _cells(by_rule.values()),
                flush=True,
            )
            table[f"{path.stem}, {name}"] = {"rows": len(rows), "true_k": true_k, "k": by_rule}
            for rule, k in by_rule.items():
                ratios.setdefault(rule, []).append(k / true_k)
    errors = mean_abs_log2(ratios)
    print(f"{'mean |log2(k / true k)|':<48}" + _cells(f"{error:.2f}" for error in errors.values()))
    return {"settings": table, "mean_abs_log2": errors}


def mean_abs_log2(ratios: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean error of k by rule, in doublings."""
    return {
        rule: round(float(np.abs(np.log2(values)).mean()), 3) for rule, values in ratios.items()
    }


def _cells(values: Iterable[object]) -> str:
    return "".join(f"{value!s:>17}" for value in values)


def main() -> None:
    """Prints the tables and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=SETS, help=".npz files of x and y")
    parser.add_argument("--planted", default=PLANTED, help=f"true k, such as {PLANTED}")
    parser.add_argument("--rows", type=int, default=20_000, help="of each planted set")
    parser.add_argument("--resamples", type=int, default=SelectK().resamples)
    parser.add_argument("--untrained", action="store_true", help="heads at principal directions")
    parser.add_argument("--landmarks", action="store_true", help="compare fewer landmarks with all")
    parser.add_argument("--landmark-rows", type=int, default=15_000, help="planted rows for that")
    parser.add_argument("--settings-only", action="store_true", help="only fewer rows and classes")
    tiny = {"paths": [TINY], "planted": "4", "rows": 300, "resamples": 2}
    arguments = parse_arguments(parser, **tiny, landmarks=True, landmark_rows=300)
    print(f"the number of clusters, unknown\n{machine()}")
    if arguments.settings_only:
        print(json.dumps(on_settings(arguments.paths)))
        return
    table: dict[str, Any] = {}
    groups = [int(k) for k in arguments.planted.split(",") if k]
    if groups:
        table["planted"] = on_planted(groups, arguments.rows, arguments.resamples)
    for path in arguments.paths:
        is_trained = not arguments.untrained
        table[path.stem] = on_set(path, arguments.resamples, is_trained=is_trained)
    if arguments.landmarks:
        table["landmarks"] = on_landmarks(arguments.paths[0], arguments.landmark_rows)
    table |= on_settings(arguments.paths)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
