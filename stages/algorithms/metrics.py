"""Agreement of predicted clusters with known classes, and the scores of chance.

Labels are integers, which need not start at 0 nor be consecutive. There must be at least one
sample.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


def accuracy(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> float:
    """Share of correct samples under the best one-to-one matching of clusters to classes.

    Unmatched clusters, if there are more clusters than classes, count as wrong.
    """
    table = _table(y, pred)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum())


def nmi(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> float:
    """Mutual information over the arithmetic mean of both entropies.

    0 if one side is constant, 1 if both are.
    """
    with warnings.catch_warnings():
        # Some versions of scikit-learn warn that many labels look like regression targets.
        warnings.simplefilter("ignore", UserWarning)
        return float(normalized_mutual_info_score(y, pred))


def ari(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> float:
    """Rand index adjusted for chance: 1 for equal partitions, about 0 for unrelated ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return float(adjusted_rand_score(y, pred))


def matching(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> dict[int, int]:
    """The class that `accuracy` matches to each predicted cluster, without unmatched clusters."""
    classes, clusters = np.unique(y), np.unique(pred)
    rows, columns = linear_sum_assignment(_table(y, pred), maximize=True)
    return {int(clusters[j]): int(classes[i]) for i, j in zip(rows, columns, strict=True)}


def chance(
    y: Int[ndarray, " n"], pred: Int[ndarray, " n"], seed: int, repeats: int
) -> dict[str, float]:
    """Mean `acc`, `nmi` and `ari` of shuffled predictions, which keep the cluster sizes."""
    y, pred = _codes(y), _codes(pred)
    generator = np.random.default_rng(seed)
    shuffled = [generator.permutation(pred) for _ in range(repeats)]
    scores = {"acc": accuracy, "nmi": nmi, "ari": ari}
    return {
        name: float(np.mean([score(y, labels) for labels in shuffled]))
        for name, score in scores.items()
    }


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The predicted clusters, in rising order of their labels."""

    cluster: Int[ndarray, " b"]
    size: Int[ndarray, " b"]
    majority: Int[ndarray, " b"]
    """The class of most of its samples; the lowest in a tie."""
    purity: Float[ndarray, " b"]
    """Share of its samples in that class."""


def by_cluster(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> Clusters:
    """Size, majority class and purity of each cluster."""
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
    """Pairs of a class and a cluster that share samples but are not matched with each other."""

    label: Int[ndarray, " m"]
    """The class."""
    cluster: Int[ndarray, " m"]
    """A cluster matched to another class, or unmatched."""
    count: Int[ndarray, " m"]
    """Samples that the two share."""
    share: Float[ndarray, " m"]
    """These samples as a share of the class."""


def mistakes(y: Int[ndarray, " n"], pred: Int[ndarray, " n"]) -> Mistakes:
    """Every pair outside the best matching, the largest first, ties in the order of their labels.

    The counts add up to the samples that `accuracy` counts as wrong.
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
    """Tenths of the samples, in rising order of confidence; their sizes differ by one at most."""

    count: Int[ndarray, " t"]
    confidence: Float[ndarray, " t"]
    """Mean confidence."""
    accuracy: Float[ndarray, " t"]
    """Share of correct samples under the best matching of all samples."""
    purity: Float[ndarray, " t"]
    """Share of samples in the majority class of their cluster, over all samples."""


def by_confidence(
    y: Int[ndarray, " n"], pred: Int[ndarray, " n"], confidence: Float[ndarray, " n"]
) -> Deciles:
    """Accuracy and purity by decile of confidence; ties stay in the order of the samples.

    With fewer than ten samples, each is a decile.
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
