import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from cpp_pipe.stages.algorithms.metrics import accuracy, ari, chance, matching, nmi

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


@given(labellings())
def test_nmi_and_ari_are_scikit_learn_s(labels: Labels) -> None:
    y, pred = np.array(labels[0]), np.array(labels[1])
    if len(set(labels[0])) == len(set(labels[1])) == 1:
        assert nmi(y, pred) == ari(y, pred) == 1.0
        return
    with pytest.MonkeyPatch.context() as patch:
        # scikit-learn warns that many labels look like a regression's targets.
        patch.setattr("warnings.warn", lambda *_, **__: None)
        theirs = normalized_mutual_info_score(y, pred), adjusted_rand_score(y, pred)
    assert nmi(y, pred) == pytest.approx(theirs[0], abs=1e-9)
    assert ari(y, pred) == pytest.approx(theirs[1], abs=1e-9)


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


def test_chance_is_high_where_clusters_are_many_and_nothing_is_where_they_are_few() -> None:
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
