from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans, kmeans_plusplus

from cpp_pipe.stages.algorithms.clustering import k_choice
from cpp_pipe.stages.algorithms.clustering.code_lengths import Ruler
from cpp_pipe.stages.algorithms.clustering.k_choice import CLEAR, KChoice, bic, choose_k, saved
from cpp_pipe.stages.algorithms.clustering.landmarks import clustering_rows
from cpp_pipe.stages.select_k import SelectK

from .planted import GROUPS, blobs, landmarks_of, subspaces_in_turn

EPS_SQ = 0.1


def choice(x: np.ndarray, k_max: int, **how: object) -> KChoice:
    points, landmarks = clustering_rows(x, x), landmarks_of(x, k_max)
    ruler = Ruler.of(landmarks, x, points, total=len(x), eps_sq=EPS_SQ)
    return choose_k(ruler, x, **{"resamples": 2, "seed": 0, **how})  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [1, 3, 6])
def test_bic_is_that_of_spherical_gaussians(k: int) -> None:
    x = np.random.default_rng(1).standard_normal((60, 4))
    fit = KMeans(k, n_init=1, init=x[:k]).fit(x)
    variance = fit.inertia_ / (4 * (60 - k))
    shares = np.bincount(fit.labels_) / 60
    likelihood = sum(
        np.log(shares[label])
        + multivariate_normal.logpdf(row, fit.cluster_centers_[label], variance)
        for row, label in zip(x, fit.labels_, strict=True)
    )
    # k centres, k - 1 shares and one variance are free.
    free = k * 4 + (k - 1) + 1
    assert bic(x, x[:k], total=60) == pytest.approx(likelihood - free / 2 * np.log(60))


def test_bic_of_a_sample_is_scaled_to_all_rows() -> None:
    x = blobs(5, 40, 16, 0.5)
    twice = np.concatenate([x, x])
    seeds, _ = kmeans_plusplus(x, 5, random_state=0)
    assert bic(x, seeds, total=400) == pytest.approx(bic(twice, seeds, total=400), rel=0.02)


def test_of_equal_rows_bic_takes_the_fewest() -> None:
    x = np.ones((30, 3), np.float32)
    found = [bic(x, x[:k], total=30) for k in (1, 2, 5)]
    assert found == sorted(found, reverse=True)


def test_the_code_decides_if_clusters_shorten_it_much() -> None:
    found = choice(subspaces_in_turn(), 16)
    assert (found.rule, found.k, found.verdict.chosen) == ("code", GROUPS, GROUPS)
    assert found.saved > CLEAR
    assert found.saved == saved(min(found.lengths), found.one_cluster)


def test_bic_decides_where_the_code_sees_little() -> None:
    found = choice(blobs(20, 15, 64, 1.0), 40)
    assert found.saved < CLEAR
    assert found.rule == "bic"
    assert found.k == pytest.approx(20, abs=2)
    assert found.verdict.chosen < 10
    # The curve has the number that was taken, too.
    assert found.k in found.grid and len(found.lengths) == len(found.grid)
    assert found.resampled.shape == (2, len(found.grid))


def test_clusters_of_more_rows_than_dimensions_are_left_to_the_code() -> None:
    rows = blobs(4, 200, 16, 0.9)
    found = choice(rows, 40)
    assert found.saved < CLEAR
    assert (found.rule, found.k) == ("code", found.verdict.chosen)


def test_a_bic_that_still_rises_does_not_decide() -> None:
    rows = blobs(40, 8, 64, 0.5)
    found = choice(rows, 20)
    assert found.saved < CLEAR
    assert (found.rule, found.k) == ("code", found.verdict.chosen)
    assert choice(rows, 20, rule="bic").k == 20


def test_an_explicit_rule_decides() -> None:
    rows = blobs(20, 15, 64, 1.0)
    by_code = choice(rows, 40, rule="code")
    assert (by_code.rule, by_code.k) == ("code", by_code.verdict.chosen)
    assert choice(subspaces_in_turn(), 16, rule="bic").rule == "bic"


def test_bic_uses_the_given_grid() -> None:
    found = choice(blobs(20, 15, 64, 1.0), 40, grid=(5, 12, 30), rule="bic")
    assert found.grid == (5, 12, 30)
    assert found.k in found.grid


def test_the_second_opinion_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = blobs(20, 15, 64, 1.0)
    alone = choice(rows, 40)
    assert alone.communities is None
    for count in (None, 2, 3000):
        monkeypatch.setattr(k_choice, "count_communities", lambda z, seed, count=count: count)
        found = choice(rows, 40, second_opinion=True)
        assert (found.k, found.rule, found.bic) == (alone.k, alone.rule, alone.bic)
        assert (found.grid, found.lengths) == (alone.grid, alone.lengths)
        assert found.communities == count


def test_the_span_reaches_from_k_to_the_second_opinion() -> None:
    found = choice(blobs(20, 15, 64, 1.0), 40, second_opinion=True)
    assert found.communities == pytest.approx(20, abs=3)
    for count, span in ((None, (94, 94)), (94, (94, 94)), (71, (71, 94)), (120, (94, 120))):
        assert replace(found, k=94, communities=count).span == span


def test_a_clear_code_needs_no_second_opinion() -> None:
    found = choice(subspaces_in_turn(), 16, second_opinion=True)
    assert found.saved > CLEAR
    assert (found.communities, found.bic, found.span) == (None, None, (GROUPS, GROUPS))


def test_bic_is_reported_even_if_it_does_not_decide() -> None:
    found = choice(blobs(40, 8, 64, 0.5), 20)
    assert (found.rule, found.bic) == ("code", 20)
    assert choice(blobs(20, 15, 64, 1.0), 40, rule="code").bic is None


def test_the_stage_uses_this_threshold_by_default() -> None:
    assert SelectK().clear == CLEAR
