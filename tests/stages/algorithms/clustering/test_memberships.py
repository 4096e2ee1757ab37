import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering import memberships
from cpp_pipe.stages.algorithms.clustering.memberships import Memberships
from cpp_pipe.stages.algorithms.clustering.spectral import cluster_rows, spectral_rows
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.algorithms.sinkhorn import membership

from ....strategies import random_rows, seeds
from .planted import planted_subspaces, unit

FIT = 1e-4
"""How far the potentials leave row sums from one, at most."""


def fit(points: np.ndarray, eta: float = 0.1) -> Memberships:
    return Memberships.fit(points, eta=eta, device="cpu")


def weights_of(affinity: Memberships, points: np.ndarray) -> np.ndarray:
    """All memberships of rows: their averages of a table with a column for each landmark."""
    return affinity.links(points, [np.eye(len(affinity.points), dtype=np.float32)]).average(0)


def places_of(affinity: Memberships, points: np.ndarray, table: np.ndarray) -> np.ndarray:
    return affinity.links(points, [table]).average(0)


def rebuilt(affinity: Memberships) -> np.ndarray:
    """Π by its formula, in float64."""
    p, u = affinity.points.astype(np.float64), affinity.potentials.astype(np.float64)
    return len(u) * np.exp((np.abs(p @ p.T) + u[:, None] + u) / affinity.eta)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(2, 8), st.sampled_from([0.05, 0.1, 0.175, 1.0]), seeds)
def test_the_potentials_make_a_doubly_stochastic_matrix(
    n: int, q: int, eta: float, seed: int
) -> None:
    pi = rebuilt(fit(random_rows(n, q, seed), eta))
    # Float32 holds the potentials, about 1, to 6e-8; over eta that is far below the tolerance.
    np.testing.assert_allclose(pi.sum(0), 1, atol=1.1 * FIT)
    np.testing.assert_allclose(pi.sum(1), 1, atol=1.1 * FIT)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), seeds)
def test_the_memberships_are_those_of_the_paper(n: int, seed: int) -> None:
    points = random_rows(n, 5, seed)
    similarity = torch.from_numpy(np.abs(points.astype(np.float64) @ points.T))
    expected = membership(similarity, eta=0.1, tolerance=1e-12).numpy()
    # Row sums within 1e-4 fix potentials, and so entries, within some times that.
    np.testing.assert_allclose(rebuilt(fit(points)), expected, rtol=10 * FIT)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), seeds)
def test_links_are_the_rows_of_the_membership_for_landmarks(n: int, seed: int) -> None:
    affinity = fit(random_rows(n, 6, seed))
    weights = weights_of(affinity, affinity.points)
    np.testing.assert_allclose(weights, rebuilt(affinity), atol=2 * FIT)
    links = affinity.links(affinity.points, [])
    np.testing.assert_allclose(links.weight, weights.diagonal(), rtol=1e-6)
    assert links.itself.tolist() == list(range(n))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(0, 20), seeds)
def test_the_links_of_any_row_are_shares(m: int, n: int, seed: int) -> None:
    affinity = fit(random_rows(m, 4, seed))
    weights = weights_of(affinity, random_rows(n, 4, seed + 1))
    assert weights.shape == (n, m)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)  # float32


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 60), seeds)
def test_a_landmark_is_placed_on_its_own_eigenvectors(m: int, seed: int) -> None:
    affinity = fit(random_rows(m, 6, seed))
    values, vectors = affinity.eigenpairs(8, 0)
    kept = int((values > 1e-2).sum())
    values, vectors = values[:kept], vectors[:, :kept]
    table = affinity.placing(values, vectors)
    placed = spectral_rows(places_of(affinity, affinity.points, table), kept)
    own = spectral_rows(vectors, kept)
    # Float32 entries are divided by an eigenvalue, and then by the length of the row.
    shortest = np.linalg.norm(vectors, axis=1).min() * values.min()
    np.testing.assert_allclose(placed, own, atol=50 * np.finfo(np.float32).eps / shortest)


def test_a_row_is_placed_by_its_memberships_to_every_landmark() -> None:
    affinity = fit(random_rows(30, 5, 0))
    values, vectors = affinity.eigenpairs(4, 0)
    rows = random_rows(7, 5, 1)
    places = places_of(affinity, rows, affinity.placing(values, vectors))
    for row, place in zip(rows, places, strict=True):
        kernel = np.exp((np.abs(affinity.points @ row) + affinity.potentials) / affinity.eta)
        expected = kernel / kernel.sum() @ vectors / values
        np.testing.assert_allclose(place, expected, atol=1e-5)  # float32


def test_eigenpairs_are_those_of_the_membership() -> None:
    affinity = fit(random_rows(50, 5, 0))
    values, vectors = affinity.eigenpairs(50, 0)
    pi = rebuilt(affinity)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(pi)[::-1], atol=1e-5)  # float32
    np.testing.assert_allclose(pi @ vectors, vectors * values, atol=1e-5)
    assert values[0] == pytest.approx(1, abs=FIT)


def test_a_subset_is_what_a_fit_of_these_rows_gives() -> None:
    affinity = fit(random_rows(40, 5, 0), 0.2)
    some = np.array([1, 2, 3, 5, 8, 13, 21, 34])
    subset, fresh = affinity.subset(some), fit(affinity.points[some], 0.2)
    assert np.array_equal(subset.points, fresh.points)
    assert np.array_equal(subset.potentials, fresh.potentials)
    assert (subset.eta, subset.device) == (fresh.eta, fresh.device)


def test_orthogonal_groups_have_an_eigenvalue_one_each_and_are_found() -> None:
    labels = np.arange(300) % 6
    rows = np.zeros((300, 18), np.float32)
    for group in range(6):
        rows[labels == group, 3 * group : 3 * group + 3] = random_rows(50, 3, group)
    affinity = fit(rows)
    values, vectors = affinity.eigenpairs(8, 0)
    # Cosines within a group average one half; other groups get some exp(-1/2 / eta) of the links.
    np.testing.assert_allclose(values[:6], 1, atol=0.02)
    assert values[6] < 0.9
    found, _ = cluster_rows(spectral_rows(vectors, 6), 6, 0, 3)
    assert accuracy(labels, found) == 1


@pytest.mark.parametrize("n", [50, 2500])
def test_thousands_of_duplicates_work(n: int) -> None:
    distinct = random_rows(3, 8, 0)
    which = np.repeat([0, 1, 2], [n - n // 10 - 1, n // 10, 1])
    affinity = fit(distinct[which])
    np.testing.assert_allclose(rebuilt(affinity).sum(1), 1, atol=1.1 * FIT)
    values, vectors = affinity.eigenpairs(5, 0)
    # Three distinct rows span three directions; the other eigenvalues are float32 rounding.
    assert (values[:3] > 0.1).all() and np.abs(values[3:]).max() < 1e-4
    table = affinity.placing(values, vectors)
    links = affinity.links(distinct, [table, affinity.sharing(which, 3)])
    rows = places_of(affinity, affinity.points, table)
    np.testing.assert_allclose(rows, links.average(0)[which], rtol=1e-3, atol=1e-6)
    confidence = links.confidence(1, np.arange(3))
    # The third is alone in its cluster, and a link to itself does not count.
    assert (confidence[:2] > 0.5).all() and confidence[2] == 0


def test_a_single_landmark_has_every_link() -> None:
    affinity = fit(random_rows(1, 4, 0))
    values, vectors = affinity.eigenpairs(3, 0)
    assert values == pytest.approx([1], abs=FIT) and vectors.tolist() == [[1]]
    rows, sharing = random_rows(5, 4, 1), affinity.sharing(np.zeros(1, np.int64), 1)
    np.testing.assert_allclose(weights_of(affinity, rows), 1)
    confidence = affinity.links(rows, [sharing]).confidence(0, np.zeros(5, np.int64))
    assert confidence.tolist() == [1] * 5


@pytest.mark.parametrize("n", [40, 1500])
def test_equal_landmarks_are_equally_linked(n: int) -> None:
    affinity = fit(np.repeat(random_rows(1, 4, 0), n, axis=0))
    np.testing.assert_allclose(weights_of(affinity, affinity.points), 1 / n, rtol=1e-5)
    values, _ = affinity.eigenpairs(2, 0)
    assert values == pytest.approx([1, 0], abs=FIT)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), seeds)
def test_confidence_is_a_share_whatever_the_clusters(m: int, k: int, seed: int) -> None:
    affinity = fit(random_rows(m, 4, seed))
    generator = np.random.default_rng(seed)
    sharing = affinity.sharing(generator.integers(0, k, m), k)
    rows = np.concatenate([random_rows(10, 4, seed + 1), affinity.points])
    found = generator.integers(0, k, len(rows))
    confidence = affinity.links(rows, [sharing]).confidence(0, found)
    assert ((confidence >= 0) & (confidence <= 1)).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 25), seeds)
def test_confidence_compares_mean_links_to_other_landmarks(m: int, seed: int) -> None:
    affinity = fit(random_rows(m, 4, seed))
    labels = np.arange(m) % 3
    sharing = affinity.sharing(labels, 3)
    rows = np.concatenate([affinity.points, random_rows(6, 4, seed + 1)])
    links, every = affinity.links(rows, [sharing]), weights_of(affinity, rows)
    found = np.arange(m + 6) % 3
    confidence = links.confidence(0, found)
    for i in range(len(rows)):
        weights = every[i].astype(np.float64)
        if links.itself[i] >= 0:
            weights[links.itself[i]] = 0
        mean = [
            weights[labels == cluster].sum() / (labels == cluster).sum() for cluster in range(3)
        ]
        own = mean.pop(int(found[i]))
        expected = max(0.0, 1 - max(mean) / own) if own > 1e-9 else 0.0
        # Divides by what remains of a float32 sum after subtracting the link to itself.
        assert confidence[i] == pytest.approx(expected, abs=1e-5 + 1e-6 / max(own, 1e-9))


def test_a_landmark_alone_in_its_cluster_has_no_confidence() -> None:
    affinity = fit(random_rows(9, 4, 0))
    sharing = affinity.sharing(np.array([0] * 8 + [1]), 2)
    links = affinity.links(affinity.points[8:], [sharing])
    assert links.weight[0] > 0.3
    assert links.confidence(0, np.array([1])).tolist() == [0]


@pytest.mark.parametrize("eta", [0.01, 0.1])
def test_a_link_to_itself_is_subtracted_exactly_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch, eta: float
) -> None:
    # What remained would be all that is left of a landmark that is alone in its cluster.
    affinity = fit(random_rows(40, 12, 0), eta)
    alone = affinity.sharing(np.arange(40), 40)
    for landmarks in (1, 7, 16, 64):
        monkeypatch.setattr(memberships, "BLOCK_LANDMARKS", landmarks)
        links = affinity.links(affinity.points, [alone])
        assert links.itself.tolist() == list(range(40))
        assert np.array_equal(links.weight, links.average(0).diagonal())


def test_a_row_between_two_clusters_has_no_confidence() -> None:
    axes = np.eye(2, 6, dtype=np.float32)
    affinity = fit(np.repeat(axes, 10, axis=0))
    sharing = affinity.sharing(np.repeat([0, 1], 10), 2)
    between = unit(axes[:1] + axes[1:])
    for found in (0, 1):
        confidence = affinity.links(between, [sharing]).confidence(0, np.array([found]))
        assert confidence[0] == pytest.approx(0, abs=1e-5)  # float32


def test_rows_in_a_subspace_are_confident_and_outliers_are_not() -> None:
    rows, labels = planted_subspaces(6, 3, 32, 150)
    fitted, fresh = np.arange(900) % 3 > 0, np.arange(900) % 3 == 0
    affinity = fit(rows[fitted])
    sharing = affinity.sharing(labels[fitted], 6)

    def confidence(points: np.ndarray) -> np.ndarray:
        links = affinity.links(points, [sharing])
        return links.confidence(0, links.average(0).argmax(1))

    inside, outside = confidence(rows[fresh]), confidence(random_rows(300, 32, 5))
    assert inside.min() > 0.9
    assert np.median(outside) < 0.5
    # By chance some outliers are near a subspace.
    assert np.quantile(outside, 0.9) < inside.min()


@pytest.mark.parametrize("eta", [0.005, 0.1, 1.0])
@pytest.mark.parametrize(("rows", "landmarks"), [(1, 1), (7, 100), (64, 16), (4096, 4096)])
def test_blocks_give_the_averages_of_whole_rows(
    monkeypatch: pytest.MonkeyPatch, eta: float, rows: int, landmarks: int
) -> None:
    affinity = fit(random_rows(150, 8, 0), eta)
    points = random_rows(90, 8, 1)
    table = np.random.default_rng(2).standard_normal((150, 5)).astype(np.float32)
    p, u = affinity.points.astype(np.float64), affinity.potentials.astype(np.float64)
    exponent = (np.abs(points.astype(np.float64) @ p.T) + u) / eta
    kernel = np.exp(exponent - exponent.max(1, keepdims=True))
    monkeypatch.setattr(memberships, "BLOCK_ROWS", rows)
    monkeypatch.setattr(memberships, "BLOCK_LANDMARKS", landmarks)
    links = affinity.links(points, [table[:, :2], table[:, 2:]])
    found = np.concatenate([links.average(0), links.average(1)], axis=1)
    # Exponents are float32: of 1/eta, with three roundings.
    atol = 10 * float(np.finfo(np.float32).eps) / min(eta, 0.1)
    np.testing.assert_allclose(found, kernel @ table / kernel.sum(1, keepdims=True), atol=atol)
