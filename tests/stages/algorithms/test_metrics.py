import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.cluster import contingency_matrix

from cpp_pipe.stages.algorithms.metrics import (
    accuracy,
    ari,
    by_cluster,
    by_confidence,
    chance,
    matching,
    mistakes,
    nmi,
)

from ...strategies import labellings

Labels = tuple[list[int], list[int]]


def best_by_trying_all(y: np.ndarray, pred: np.ndarray) -> float:
    clusters = np.unique(pred).tolist()
    classes = np.unique(y).tolist() + [-1] * len(clusters)
    shares = [
        float(np.mean([dict(zip(clusters, choice, strict=True))[c] for c in pred] == y))
        for choice in set(itertools.permutations(classes, len(clusters)))
    ]
    return max(shares)


@pytest.mark.parametrize("case", range(7))
def test_accuracy_and_nmi_match_golden(
    golden: Callable[[str], dict[str, np.ndarray]], case: int
) -> None:
    g = golden("clustering_metrics")
    y, pred = g[f"{case}_y"], g[f"{case}_pred"]
    assert abs(accuracy(y, pred) - g[f"{case}_acc"]) < 1e-12
    assert abs(nmi(y, pred) - g[f"{case}_nmi"]) < 1e-9


@given(labellings(max_n=12, max_k=3))
def test_accuracy_is_the_best_of_all_matchings(labels: Labels) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    assert accuracy(y, pred) == pytest.approx(best_by_trying_all(y, pred))


@pytest.mark.parametrize(("classes", "clusters"), [(6, 6), (2, 6), (6, 2), (5, 6)])
def test_accuracy_is_the_best_of_all_matchings_of_up_to_six(classes: int, clusters: int) -> None:
    generator = np.random.default_rng(0)
    table = generator.integers(0, 9, (classes, clusters))
    y, pred = (np.repeat(axis.ravel(), table.ravel()) for axis in np.indices(table.shape))
    smaller, larger = (table, table.T)[:: 1 if classes <= clusters else -1]
    best = max(
        sum(smaller[i, j] for i, j in enumerate(choice))
        for choice in itertools.permutations(range(larger.shape[0]), len(smaller))
    )
    assert accuracy(y, pred) == pytest.approx(best / table.sum())


def entropy(shares: np.ndarray) -> float:
    return -float(np.sum(shares * np.log(shares)))


def pairs(counts: np.ndarray) -> float:
    return float(np.sum(counts * (counts - 1.0)) / 2)


@given(labellings())
def test_nmi_and_ari_follow_their_formulas(labels: Labels) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    if len(set(labels[0])) == len(set(labels[1])) == 1:
        assert nmi(y, pred) == ari(y, pred) == 1.0
        return
    table = contingency_matrix(y, pred)
    joint = table / table.sum()
    both = entropy(joint.sum(1)) + entropy(joint.sum(0))
    information = both - entropy(joint[joint > 0])
    assert nmi(y, pred) == pytest.approx(2 * information / both, abs=1e-12)
    rows, columns = pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / max(pairs(table.sum()), 1)
    most = (rows + columns) / 2
    formula = 1.0 if most == expected else (pairs(table) - expected) / (most - expected)
    assert ari(y, pred) == pytest.approx(formula, abs=1e-12)


@given(labellings(), st.permutations(range(6)))
def test_scores_ignore_the_names_of_labels(labels: Labels, names: list[int]) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    renamed = 10 * np.array(names)[pred] - 7
    for score in (accuracy, nmi, ari):
        assert score(y, renamed) == pytest.approx(score(y, pred), abs=1e-12)
        assert score(renamed, y) == pytest.approx(score(y, pred), abs=1e-12)


@given(labellings())
def test_the_matching_reaches_the_accuracy_and_is_one_to_one(labels: Labels) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    match = matching(y, pred)
    assert len(set(match.values())) == len(match)
    assert len(match) == min(len(np.unique(y)), len(np.unique(pred)))
    right = np.mean([match.get(c) == t for c, t in zip(pred.tolist(), y.tolist(), strict=True)])
    assert right == pytest.approx(accuracy(y, pred))


def test_chance_is_low_for_few_clusters_and_high_for_many() -> None:
    generator = np.random.default_rng(0)
    few = generator.integers(0, 2, (2, 4000))
    many = generator.integers(0, 300, (2, 400))
    low, high = (chance(y, pred, seed=0, repeats=5) for y, pred in (few, many))
    assert 0.5 <= low["acc"] < 0.53
    assert low["nmi"] < 0.01
    assert abs(low["ari"]) < 0.01
    assert high["nmi"] > 0.8 > 0.05 > abs(high["ari"])


def test_chance_follows_its_seed_and_the_clusters_sizes() -> None:
    y, pred = np.arange(60) % 3, np.arange(60) % 4
    first = chance(y, pred, seed=1, repeats=3)
    assert first == chance(y, pred, seed=1, repeats=3)
    assert first != chance(y, pred, seed=2, repeats=3)
    assert chance(y, np.zeros(60, int), seed=0, repeats=2)["acc"] == pytest.approx(1 / 3)


@given(labellings())
def test_clusters_are_the_columns_of_scikit_learn_s_table(labels: Labels) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    table = contingency_matrix(y, pred)
    found = by_cluster(y, pred)
    assert found.cluster.tolist() == sorted(set(labels[1]))
    assert found.size.tolist() == table.sum(0).tolist() and found.size.sum() == len(y)
    assert found.majority.tolist() == np.unique(y)[table.argmax(0)].tolist()
    assert found.purity * found.size == pytest.approx(table.max(0))
    # Majority classes, shared or not, are right at least as often as a one-to-one matching.
    assert found.purity @ found.size / len(y) >= accuracy(y, pred) - 1e-12


@given(labellings())
def test_mistakes_are_all_unmatched_pairs_largest_first(
    labels: Labels,
) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    match = matching(y, pred)
    found = mistakes(y, pred)
    wrong = [pair for pair in zip(*labels, strict=True) if match.get(pair[1]) != pair[0]]
    pairs = list(zip(found.label.tolist(), found.cluster.tolist(), strict=True))
    counts = dict(zip(pairs, found.count.tolist(), strict=True))
    assert counts == Counter(wrong) and len(pairs) == len(counts)
    assert found.count.sum() / len(y) == pytest.approx(1 - accuracy(y, pred))
    ranks = [(-counts[pair], *pair) for pair in pairs]
    assert ranks == sorted(ranks)
    shares = [counts[pair] / labels[0].count(pair[0]) for pair in pairs]
    assert found.share.tolist() == pytest.approx(shares)


def test_a_perfect_clustering_has_no_mistake() -> None:
    y = np.repeat([3, 5, 9], 4)
    assert mistakes(y, -y).count.tolist() == []
    assert by_cluster(y, -y).purity.tolist() == [1.0] * 3


def test_an_unmatched_cluster_is_a_mistake() -> None:
    found = mistakes(np.array([1, 1, 1, 2]), np.array([0, 0, 7, 5]))
    assert (found.label.tolist(), found.cluster.tolist()) == ([1], [7])
    assert (found.count.tolist(), found.share.tolist()) == ([1], [pytest.approx(1 / 3)])


confidences = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=30, max_size=30)


@given(labellings(), confidences)
def test_deciles_are_what_sorting_the_samples_by_confidence_gives(
    labels: Labels, some: list[float]
) -> None:
    n = len(labels[0])
    y, pred, confidence = np.array(labels[0]), np.array(labels[1]), np.array(some[:n])
    match, clusters = matching(y, pred), by_cluster(y, pred)
    majority = dict(zip(clusters.cluster.tolist(), clusters.majority.tolist(), strict=True))
    found = by_confidence(y, pred, confidence.astype(np.float32))
    assert found.count.sum() == n and len(found.count) == min(10, n)
    assert found.count.max() - found.count.min() <= 1
    waiting = sorted(range(n), key=lambda i: (some[i], i))
    for t, count in enumerate(found.count):
        tenth, waiting = waiting[:count], waiting[count:]
        assert found.confidence[t] == pytest.approx(np.mean([some[i] for i in tenth]))
        right = [match.get(labels[1][i]) == labels[0][i] for i in tenth]
        assert found.accuracy[t] == pytest.approx(np.mean(right))
        pure = [majority[labels[1][i]] == labels[0][i] for i in tenth]
        assert found.purity[t] == pytest.approx(np.mean(pure))


@given(labellings(), confidences)
def test_deciles_rise_in_confidence_and_average_to_the_whole(
    labels: Labels, some: list[float]
) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    found = by_confidence(y, pred, np.array(some[: len(y)]))
    assert (np.diff(found.confidence) >= 0).all()
    assert found.accuracy @ found.count / len(y) == pytest.approx(accuracy(y, pred))
    clusters = by_cluster(y, pred)
    assert found.purity @ found.count == pytest.approx(clusters.purity @ clusters.size)


def test_equal_confidences_stay_in_the_order_of_samples() -> None:
    y = np.repeat([0, 1], 10)
    pred = np.where(np.arange(20) == 19, 0, y)  # the last sample alone is wrong
    found = by_confidence(y, pred, np.full(20, 0.5))
    assert found.accuracy.tolist() == [1.0] * 9 + [0.5]
    assert by_confidence(y[:3], pred[:3], np.array([0.9, 0.1, 0.5])).count.tolist() == [1, 1, 1]
