from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering import hierarchy
from cpp_pipe.stages.algorithms.clustering.hierarchy import (
    Criterion,
    Hierarchy,
    build_hierarchy,
    cut,
)
from cpp_pipe.stages.algorithms.coding_length import (
    Moments,
    second_moments,
)
from cpp_pipe.store.errors import NumericError

from ....strategies import random_labels, random_rotation, random_unit_rows, seeds
from ..moments import coding_length_of

EPS_SQ = 0.1
EXACT = 1e-9
"""Lengths are found and added in float64; only the choice of a pair is made in float32."""


def random_moments(n: int, p: int, k: int, seed: int) -> Moments:
    """Moments of clusters, none of them empty."""
    labels = torch.cat([torch.arange(k), random_labels(n - k, k, seed)])
    return second_moments(random_unit_rows(n, p, seed), labels, k)


def length_from_rows(
    z: np.ndarray, clusters: list[list[int]], total: int, criterion: str = "code"
) -> float:
    """The formula, for clusters given as lists of row numbers; each row stands for several.

    The criterion `rate` leaves out the terms of clusters and labels.
    """
    n, p = z.shape
    length = 0.0
    for cluster in clusters:
        if cluster:
            m, rows = len(cluster), len(cluster) * total / n
            second = z[cluster].T @ z[cluster]
            logdet = np.linalg.slogdet(np.eye(p) + p / (m * EPS_SQ) * second)[1]
            if criterion == "rate":
                length += rows / 2 * logdet
            else:
                length += (rows + p) / 2 * logdet - rows * np.log(m / n)
    return length


def sides(found: Hierarchy) -> tuple[np.ndarray, np.ndarray]:
    left = np.array([merging.left for merging in found.merges], dtype=np.int64)
    right = np.array([merging.right for merging in found.merges], dtype=np.int64)
    return left, right


def curve(found: Hierarchy) -> np.ndarray:
    """Lengths from one cluster to the leaves."""
    return hierarchy.lengths_by_level(found)


def together(labels: np.ndarray) -> np.ndarray:
    return labels[:, None] == labels


def planted(groups: int = 6, pieces: int = 3, each: int = 80) -> tuple[Moments, np.ndarray]:
    """Noisy planes of 24 features, each split at random; the moments of pieces, and their group."""
    p, generator = 24, torch.Generator().manual_seed(0)
    rows = []
    for group in range(groups):
        plane = random_rotation(p, group)[:2]
        inside = torch.randn(pieces * each, 2, generator=generator, dtype=torch.float64) @ plane
        noise = torch.randn(pieces * each, p, generator=generator, dtype=torch.float64)
        rows.append(torch.nn.functional.normalize(inside, dim=1) + 0.03 * noise)
    z = torch.nn.functional.normalize(torch.cat(rows), dim=1)
    order = np.random.default_rng(0).permutation(groups * pieces)
    labels = torch.from_numpy(order).repeat_interleave(each)
    return second_moments(z, labels, len(order)), np.argsort(order) // pieces


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 30),
    st.sampled_from([1, 2, 5, 17, 33]),
    st.integers(1, 7),
    st.integers(1, 9),
    st.sampled_from(["code", "rate"]),
    seeds,
)
def test_each_merge_is_the_cheapest_by_brute_force(
    n: int, p: int, k: int, stands_for: int, criterion: hierarchy.Criterion, seed: int
) -> None:
    z, labels, total = random_unit_rows(n, p, seed), random_labels(n, k, seed), n * stands_for
    moments = second_moments(z, labels, k)
    found = build_hierarchy(moments, eps_sq=EPS_SQ, total=total, criterion=criterion)
    clusters = {leaf: torch.nonzero(labels == leaf).flatten().tolist() for leaf in range(k)}

    def length(*pair: int, by: str = "code") -> float:
        rest = [rows for node, rows in clusters.items() if node not in pair]
        joined = [row for node in pair for row in clusters[node]]
        return length_from_rows(z.numpy(), [*rest, joined], total, by)

    assert found.finest_length == pytest.approx(length(), rel=EXACT)
    # Float32 log determinants of this order are right to 1e-5; this is their weight.
    tolerance = 1e-5 * (total + p)
    for step, merging in enumerate(found.merges):
        assert merging.parent == k + step
        assert merging.left < merging.right
        if all(clusters.values()):
            least = min(length(*pair, by=criterion) for pair in combinations(clusters, 2))
            assert length(merging.left, merging.right, by=criterion) <= least + tolerance
        else:
            assert not (clusters[merging.left] and clusters[merging.right])
        clusters[merging.parent] = clusters.pop(merging.left) + clusters.pop(merging.right)
        assert merging.length == pytest.approx(length(), rel=EXACT)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), seeds)
def test_each_level_has_its_coding_length(k: int, seed: int) -> None:
    z, labels = random_unit_rows(40, 6, seed), random_labels(40, k, seed)
    found = build_hierarchy(second_moments(z, labels, k), eps_sq=EPS_SQ, total=40)
    for level, length in enumerate(curve(found), start=1):
        coarse = torch.from_numpy(cut(*sides(found), level))[labels]
        moments = second_moments(z, coarse, level)
        expected = coding_length_of(moments, eps_sq=EPS_SQ).total
        assert length == pytest.approx(float(expected), rel=EXACT)


@given(st.integers(1, 20), seeds)
def test_each_level_is_a_partition_nested_in_the_next_coarser_one(leaves: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    left, right, nodes = [], [], list(range(leaves))
    for parent in range(leaves, 2 * leaves - 1):
        one, other = generator.choice(nodes, 2, replace=False).tolist()
        nodes = [node for node in nodes if node not in (one, other)] + [parent]
        left.append(min(one, other))
        right.append(max(one, other))
    merges = np.array(left, dtype=np.int64), np.array(right, dtype=np.int64)
    finer = cut(*merges, leaves)
    assert finer.tolist() == list(range(leaves))
    for level in range(leaves - 1, 0, -1):
        labels = cut(*merges, level)
        _, first = np.unique(labels, return_index=True)
        assert len(first) == level
        assert (np.diff(first) > 0).all(), "numbered by the lowest leaf that each holds"
        assert together(labels)[together(finer)].all()
        finer = labels


@pytest.mark.parametrize("seed", range(5))
def test_neither_the_order_of_the_leaves_nor_a_rotation_changes_a_level(seed: int) -> None:
    moments = random_moments(120, 9, 12, seed)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    turn = random_rotation(9, seed)
    moved = Moments(turn.mT @ moments.second[order] @ turn, moments.counts[order])
    one, other = (build_hierarchy(given, eps_sq=EPS_SQ, total=700) for given in (moments, moved))
    np.testing.assert_allclose(curve(other), curve(one), rtol=EXACT)
    for level in range(1, 13):
        before, after = (together(cut(*sides(found), level)) for found in (one, other))
        assert np.array_equal(after, before[np.ix_(order.numpy(), order.numpy())])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), seeds)
def test_empty_leaves_cost_nothing_and_go_first(k: int, empty: int, seed: int) -> None:
    moments = random_moments(20, 4, k, seed)
    place = torch.randperm(k + empty, generator=torch.Generator().manual_seed(seed))[:k].sort()[0]
    padded = Moments(
        torch.zeros(k + empty, 4, 4, dtype=torch.float64).index_copy(0, place, moments.second),
        torch.zeros(k + empty, dtype=torch.int64).index_copy(0, place, moments.counts),
    )
    alone, among = (build_hierarchy(given, eps_sq=EPS_SQ, total=50) for given in (moments, padded))
    expected = np.concatenate([curve(alone), np.full(empty, alone.finest_length)])
    assert np.array_equal(curve(among), expected)
    assert hierarchy.shortest_level(among) == hierarchy.shortest_level(alone)
    for level in range(1, k + 1):
        kept = cut(*sides(among), level)[place.numpy()]
        assert np.array_equal(together(kept), together(cut(*sides(alone), level)))


def test_leaves_without_any_row_have_no_length() -> None:
    nothing = Moments(torch.zeros(3, 4, 4, dtype=torch.float64), torch.zeros(3, dtype=torch.int64))
    found = build_hierarchy(nothing, eps_sq=EPS_SQ, total=0)
    assert [tuple(merging) for merging in found.merges] == [(3, 0, 1, 0.0), (4, 2, 3, 0.0)]


def test_one_leaf_is_the_only_level() -> None:
    found = build_hierarchy(random_moments(10, 4, 1, 0), eps_sq=EPS_SQ, total=10)
    assert found.merges == ()
    assert curve(found).tolist() == [found.finest_length]
    assert cut(*sides(found), 1).tolist() == [0]


def test_pieces_of_planted_planes_are_merged_into_the_planes() -> None:
    moments, group = planted()
    found = build_hierarchy(moments, eps_sq=EPS_SQ, total=100 * int(moments.counts.sum()))
    assert hierarchy.shortest_level(found) == 6
    assert np.array_equal(together(cut(*sides(found), 6)), together(group))


def test_by_the_rate_no_cluster_swallows_dissimilar_small_ones() -> None:
    # For ten or thirty rows in 128 features, the term of a cluster outweighs that of its rows.
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(32), [30, 10, 10, 10] * 8)
    z = generator.standard_normal((len(labels), 128)) / np.sqrt(128)
    z[np.arange(len(z)), labels // 4] += 0.8
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    moments = second_moments(torch.from_numpy(z), torch.from_numpy(labels), 32)
    largest = {}
    for criterion in ("code", "rate"):
        found = build_hierarchy(moments, eps_sq=EPS_SQ, total=len(z), criterion=criterion)
        largest[criterion] = np.bincount(cut(*sides(found), 8)).max()
    assert largest["code"] > 16, "of 32 pieces"
    assert largest["rate"] <= 8


def test_few_neighbours_give_the_lengths_of_all_pairs() -> None:
    moments, _ = planted()
    few, every = (
        build_hierarchy(moments, eps_sq=EPS_SQ, total=100_000, neighbours=neighbours)
        for neighbours in (4, 17)
    )
    # The most that the choice of neighbours costs at any level with clear groups.
    np.testing.assert_allclose(curve(few), curve(every), rtol=1e-3)
    assert np.array_equal(cut(*sides(few), 6), cut(*sides(every), 6))


def test_one_neighbour_is_enough_to_reach_one_cluster() -> None:
    moments = random_moments(200, 5, 25, 0)
    found = build_hierarchy(moments, eps_sq=EPS_SQ, total=200, neighbours=1)
    whole = Moments(moments.second.sum(0, keepdim=True), moments.counts.sum(0, keepdim=True))
    expected = coding_length_of(whole, eps_sq=EPS_SQ).total
    assert curve(found)[0] == pytest.approx(float(expected), rel=EXACT)
    assert cut(*sides(found), 1).tolist() == [0] * 25


def test_ties_go_to_the_lowest_nodes() -> None:
    second = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    moments = Moments(second, torch.full((5,), 3))
    # Here merging only saves labels, more for a larger cluster: the second takes leaf 2.
    found = build_hierarchy(moments, eps_sq=EPS_SQ, total=10_000)
    assert sides(found)[0][:2].tolist() == [0, 2]
    assert sides(found)[1][:2].tolist() == [1, 5]


@pytest.mark.parametrize("p", [1, 16, 17, 40, 128])
# Rounding errors of p steps, and of the logarithms on both sides, may add up.
@pytest.mark.parametrize("dtype, unit", [(torch.float32, 2**-24), (torch.float64, 2**-53)])
def test_determinants_by_halves_are_those_of_lapack(
    p: int, dtype: torch.dtype, unit: float
) -> None:
    second = random_moments(3 * p + 6, p, 3, 0).second
    a = torch.eye(p, dtype=torch.float64) + second / EPS_SQ
    expected = np.linalg.slogdet(a.numpy())[1]
    found = hierarchy._log_determinant_(a.to(dtype))
    np.testing.assert_allclose(found.numpy(), expected, rtol=(p + 4) * unit)


def test_chunks_do_not_change_a_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    moments, _ = planted()
    whole = build_hierarchy(moments, eps_sq=EPS_SQ, total=100_000)
    monkeypatch.setattr(hierarchy, "CHUNK", 5 * 24**2)
    assert build_hierarchy(moments, eps_sq=EPS_SQ, total=100_000) == whole


def test_the_moments_are_not_changed() -> None:
    moments = random_moments(30, 4, 5, 0)
    before = moments.second.clone()
    build_hierarchy(moments, eps_sq=EPS_SQ, total=30)
    assert torch.equal(moments.second, before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_non_finite_moment_is_reported_with_its_rows(value: float) -> None:
    moments = random_moments(30, 4, 3, 0)
    moments.second[1, 2, 2] = value
    rows = int(moments.counts[1])
    with pytest.raises(NumericError, match=f"a cluster of {rows} rows is not finite at eps_sq 0.1"):
        build_hierarchy(moments, eps_sq=EPS_SQ, total=30)


@pytest.mark.parametrize("criterion", ["code", "rate"])
def test_a_distortion_too_small_for_float32_is_reported(criterion: Criterion) -> None:
    """Merging by the rate ended with an error of Python, as no pair had the least change."""
    moments = second_moments(random_unit_rows(9, 16, 0), torch.arange(9) % 3, 3)
    with pytest.raises(NumericError, match=r"not finite at eps_sq 1e-12: raise eps_sq"):
        build_hierarchy(moments, eps_sq=1e-12, total=9, criterion=criterion)


@pytest.mark.parametrize("criterion", ["code", "rate"])
def test_a_cluster_of_zero_rows_is_merged_as_others_are(criterion: Criterion) -> None:
    moments = random_moments(30, 4, 5, 0)
    moments.second[2] = 0
    found = build_hierarchy(moments, eps_sq=EPS_SQ, total=30, criterion=criterion)
    assert np.isfinite(curve(found)).all() and len(found.merges) == 4


@pytest.mark.parametrize("criterion", ["code", "rate"])
def test_a_distortion_below_the_precision_of_float32_is_reported(criterion) -> None:
    """Each cluster has fewer rows than features; float64 still holds the matrices of the leaves."""
    moments = random_moments(200, 64, 20, 0)
    with pytest.raises(NumericError, match="is not finite at eps_sq 1e-11: raise eps_sq"):
        build_hierarchy(moments, eps_sq=1e-11, total=200, criterion=criterion)
