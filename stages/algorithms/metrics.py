"""How well predicted clusters agree with known classes, and what chance alone would score.

Labels are integers and need not run from 0 or without gaps. Every score is of at least one sample.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment


def accuracy(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> float:
    """Share of samples right under the best one-to-one matching of clusters to classes.

    Clusters left over when there are more of them than classes count as wrong.
    """
    return _accuracy(_table(y, pred))


def nmi(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> float:
    """Mutual information over the arithmetic mean of the two entropies; 0 where a side is constant.

    Two constant sides agree fully and score 1.
    """
    return _nmi(_table(y, pred))


def ari(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> float:
    """Rand index adjusted for chance: 1 for equal partitions, about 0 for unrelated ones."""
    return _ari(_table(y, pred))


def matching(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> dict[int, int]:
    """The class that `accuracy` gives to each predicted cluster; left-over clusters are absent."""
    classes, clusters = np.unique(y), np.unique(pred)
    rows, columns = linear_sum_assignment(_table(y, pred), maximize=True)
    return {int(clusters[j]): int(classes[i]) for i, j in zip(rows, columns, strict=True)}


def chance(
    y: Int[ndarray, " n"], pred: Int[ndarray, " n"], seed: int, repeats: int
) -> dict[str, float]:
    """Mean `acc`, `nmi` and `ari` when the predictions are shuffled: their sizes, no content."""
    y, pred = _codes(y), _codes(pred)
    generator = np.random.default_rng(seed)
    tables = [_table(y, generator.permutation(pred)) for _ in range(repeats)]
    scores = {"acc": _accuracy, "nmi": _nmi, "ari": _ari}
    return {name: float(np.mean([f(t) for t in tables])) for name, f in scores.items()}


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Each predicted cluster, in rising order of its label."""

    cluster: Int[ndarray, " b"]
    size: Int[ndarray, " b"]
    majority: Int[ndarray, " b"]
    """The class of most of its samples, the lowest of equals."""
    purity: Float[ndarray, " b"]
    """Share of its samples that are of that class."""


def by_cluster(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> Clusters:
    """Size, majority class and purity of each cluster that has samples."""
    table = _table(y, pred)
    size = table.sum(0)
    return Clusters(
        cluster=np.unique(pred),
        size=size,
        majority=np.unique(y)[table.argmax(0)],
        purity=table.max(0) / size,
    )


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """Pairs of a class and a cluster that share samples and are not matched with each other."""

    label: Int[ndarray, " m"]
    """The class."""
    cluster: Int[ndarray, " m"]
    """Matched to another class, or left over."""
    count: Int[ndarray, " m"]
    """Samples that the two share."""
    share: Float[ndarray, " m"]
    """Of the samples of the class."""


def mistakes(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> Mistakes:
    """Every pair off the best matching, the largest first, equals in order of their labels.

    Their counts add up to the samples that `accuracy` counts as wrong.
    """
    table = _table(y, pred)
    off = table.copy()
    off[linear_sum_assignment(table, maximize=True)] = 0
    i, j = np.nonzero(off)
    order = np.argsort(-off[i, j], kind="stable")
    i, j = i[order], j[order]
    return Mistakes(
        label=np.unique(y)[i],
        cluster=np.unique(pred)[j],
        count=off[i, j],
        share=off[i, j] / table.sum(1)[i],
    )


@dataclass(frozen=True, kw_only=True)
class Deciles:
    """Tenths of the samples, in rising order of confidence; sizes differ by one at most."""

    count: Int[ndarray, " t"]
    confidence: Float[ndarray, " t"]
    """The mean."""
    accuracy: Float[ndarray, " t"]
    """Share that is right under the best matching of all samples."""
    purity: Float[ndarray, " t"]
    """Share whose class is the majority of their cluster among all samples."""


def by_confidence(
    y: Int[ndarray, " n"], pred: Int[ndarray, " n"], confidence: Float[ndarray, " n"]
) -> Deciles:
    """Accuracy and purity by decile of confidence; equals stay in the order of samples.

    Fewer than ten samples are a decile each.
    """
    table = _table(y, pred)
    y, pred = _codes(y), _codes(pred)
    classes, clusters = linear_sum_assignment(table, maximize=True)
    matched = np.full(table.shape[1], -1)  # no class has this code
    matched[clusters] = classes
    order = np.argsort(confidence, kind="stable")
    tenths = np.array_split(order, min(10, len(order)))

    def means(values: ndarray) -> ndarray:
        return np.array([values[tenth].mean(dtype=np.float64) for tenth in tenths])

    return Deciles(
        count=np.array([len(tenth) for tenth in tenths]),
        confidence=means(confidence),
        accuracy=means(matched[pred] == y),
        purity=means(table.argmax(0)[pred] == y),
    )


def _codes(labels: ndarray) -> ndarray:
    return np.unique(labels, return_inverse=True)[1]


def _table(y: ndarray, pred: ndarray) -> Int[ndarray, "a b"]:
    """How many samples each class (row) shares with each cluster (column)."""
    assert len(y) == len(pred) > 0, f"{len(y)} classes and {len(pred)} predictions to compare"
    y, pred = _codes(y), _codes(pred)
    a, b = int(y.max()) + 1, int(pred.max()) + 1
    return np.bincount(y * b + pred, minlength=a * b).reshape(a, b)


def _accuracy(table: ndarray) -> float:
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum())


def _nmi(table: ndarray) -> float:
    if table.shape == (1, 1):
        return 1.0
    joint = table / table.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    held = joint > 0
    information = np.sum(joint[held] * np.log(joint[held] / np.outer(rows, columns)[held]))
    entropy = -np.sum(rows * np.log(rows)) - np.sum(columns * np.log(columns))
    return float(np.clip(2 * information / entropy, 0, 1))


def _ari(table: ndarray) -> float:
    both = _pairs(table)
    rows, columns, everything = _pairs(table.sum(1)), _pairs(table.sum(0)), _pairs(table.sum())
    expected = rows * columns / max(everything, 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == expected else float((both - expected) / (most - expected))


def _pairs(counts: Int[ndarray, "*shape"] | np.integer) -> float:
    counts = np.asarray(counts, dtype=np.float64)
    return float(np.sum(counts * (counts - 1) / 2))
