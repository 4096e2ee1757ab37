import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cpp_pipe.stages.algorithms.clustering import krylov
from cpp_pipe.stages.algorithms.clustering.krylov import leading_pairs
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.store.errors import NumericError

from ....strategies import random_rotation, random_unit_rows, seeds

N, K = 480, 12
"""An order and a number of pairs that the iteration takes on at its full depth, once it is let."""


@pytest.fixture
def iterating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the iteration solve matrices small enough for a full decomposition."""
    assert N >= 2 * (krylov.DEPTH + 1) * (K + krylov.SURPLUS)
    monkeypatch.setattr(krylov, "DENSE_ORDER", 0)


def symmetric(values: Tensor, seed: int) -> Tensor:
    """A matrix with these eigenvalues and random eigenvectors."""
    q = random_rotation(len(values), seed)
    a = q * values @ q.mT
    return (a + a.mT) / 2


def falling(kind: str) -> Tensor:
    """Spectra with a gap after the first five eigenvalues."""
    rank = torch.arange(N, dtype=torch.float64)
    tail = {
        "fast": 0.5 * 0.9**rank,
        "slow": 0.5 / (1 + 0.01 * rank),
        "none": torch.zeros(N, dtype=torch.float64),
        "even": 0.5 - rank / N,
    }[kind]
    tail[:5] = torch.tensor([1.0, 0.97, 0.9, 0.9, 0.85])
    return tail


def memberships(dtype: torch.dtype, seed: int) -> Tensor:
    """Π of five groups of unit rows around orthogonal directions."""
    centres = torch.eye(5, 16, dtype=torch.float64)[torch.arange(N) % 5]
    z = torch.nn.functional.normalize(centres + 0.6 * random_unit_rows(N, 16, seed), dim=1)
    return membership((z @ z.mT).abs().to(dtype), eta=0.1)


def check_against_full(a: Tensor, k: int, gap_after: int, *, converged: int = K) -> None:
    """Compares pairs with those of a full decomposition, within the tolerance.

    Pairs beyond the first `converged` may not have converged.
    """
    values, vectors = leading_pairs(a, k, 0)
    assert values.dtype == vectors.dtype == a.dtype
    expected, full = torch.linalg.eigh(a.double())
    expected, full = expected.flip(0), full.flip(1)
    largest = float(expected.abs().max())
    error, rounding = krylov.TOLERANCE * largest, 100 * largest * torch.finfo(a.dtype).eps
    v = vectors.double()
    residual = (a.double() @ v - v * values).norm(dim=0)
    assert float(residual[:converged].max()) <= error + rounding
    assert (values.diff() <= 0).all()
    torch.testing.assert_close(v.mT @ v, torch.eye(k, dtype=torch.float64), rtol=0, atol=rounding)
    # Within a space of vectors the i-th largest eigenvalue is never above the i-th of all, and it
    # lies within its residual of one of them.
    short = expected[:k] - values.double()
    assert float(short.min()) >= -rounding
    assert float(short[:converged].max()) <= error + rounding
    apart = (expected[:, None] - values.double()).abs().min(0).values
    assert (apart <= residual + rounding).all()
    # Davis and Kahan: a subspace is off by its residual, a norm over columns, over the gap.
    gap = float(expected[gap_after - 1] - expected[gap_after])
    leading = full[:, :gap_after]
    missed = leading - v[:, :gap_after] @ (v[:, :gap_after].mT @ leading)
    assert float(missed.norm()) <= gap_after**0.5 * error / gap + rounding


@pytest.mark.parametrize("kind", ["fast", "slow", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.usefixtures("iterating")
def test_the_iteration_agrees_with_a_full_decomposition(kind: str, dtype: torch.dtype) -> None:
    check_against_full(symmetric(falling(kind), 3).to(dtype), K, 5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.usefixtures("iterating")
def test_leading_pairs_above_a_flat_spectrum_are_found_to_the_tolerance(dtype: torch.dtype) -> None:
    # The other eigenvalues, down to below zero, are too close to converge: 1/480 apart.
    check_against_full(symmetric(falling("even"), 3).to(dtype), K, 5, converged=5)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_iteration_finds_the_leading_pairs_of_random_gram_matrices(seed: int) -> None:
    z = random_unit_rows(N, 6, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(krylov, "DENSE_ORDER", 0)
        check_against_full(z @ z.mT, K, 6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.usefixtures("iterating")
def test_the_iteration_agrees_on_doubly_stochastic_matrices(dtype: torch.dtype, seed: int) -> None:
    pi = memberships(dtype, seed)
    check_against_full(pi, K, 5)
    values, vectors = leading_pairs(pi, K, 0)
    # Rows sum to one within the membership's own 1e-6, so the first vector is even.
    assert float(values[0]) == pytest.approx(1, abs=1e-5)
    assert float(vectors[:, 0].std() / vectors[:, 0].mean()) < krylov.TOLERANCE


@pytest.mark.usefixtures("iterating")
def test_an_eigenvalue_is_found_as_often_as_it_occurs() -> None:
    # An iteration from one vector finds a repeated eigenvalue only once.
    a = torch.block_diag(*[torch.full((48, 48), 1 / 48, dtype=torch.float64)] * 10)
    values, vectors = leading_pairs(a, K, 0)
    torch.testing.assert_close(values[:10], torch.ones(10, dtype=torch.float64))
    torch.testing.assert_close(vectors[:, :10] @ vectors[:, :10].mT, a)
    assert float(values[10:].abs().max()) < 1e-12


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.usefixtures("iterating")
def test_a_matrix_of_equal_entries_has_orthonormal_vectors_all_the_same(
    value: float, dtype: torch.dtype
) -> None:
    # In float32 its first eigenvalue once came out as 1.6, because the basis was not orthonormal.
    values, vectors = leading_pairs(torch.full((N, N), value / N, dtype=dtype), K, 0)
    expected = torch.zeros(K, dtype=dtype)
    expected[0] = value
    rounding = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(values, expected, rtol=0, atol=rounding)
    torch.testing.assert_close(
        vectors.mT @ vectors, torch.eye(K, dtype=dtype), rtol=0, atol=rounding
    )


@pytest.mark.usefixtures("iterating")
def test_the_same_seed_gives_the_same_bits_and_another_the_same_pairs() -> None:
    a = symmetric(falling("fast"), 1)
    values, vectors = leading_pairs(a, 5, 7)
    again = leading_pairs(a, 5, 7)
    assert torch.equal(values, again[0]) and torch.equal(vectors, again[1])
    other, other_vectors = leading_pairs(a, 5, 8)
    assert not torch.equal(vectors, other_vectors)
    torch.testing.assert_close(values, other, rtol=0, atol=2 * krylov.TOLERANCE)


@given(st.integers(1, 30), st.integers(1, 40), seeds)
def test_small_matrices_are_solved_fully_with_as_many_pairs_as_rows(
    n: int, k: int, seed: int
) -> None:
    a = symmetric(torch.linspace(1, -0.5, n, dtype=torch.float64), seed)
    values, vectors = leading_pairs(a, k, 0)
    kept = min(k, n)
    assert values.shape == (kept,) and vectors.shape == (n, kept)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(a).flip(0)[:kept])
    torch.testing.assert_close(a @ vectors, vectors * values)


@pytest.mark.usefixtures("iterating")
def test_most_of_a_matrix_s_pairs_are_left_to_a_full_decomposition() -> None:
    a = symmetric(torch.linspace(1, -0.5, 60, dtype=torch.float64), 0)
    values, _ = leading_pairs(a, 100, 0)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(a).flip(0))


@given(st.integers(1, 20), seeds)
def test_the_largest_entry_of_every_vector_is_positive(n: int, seed: int) -> None:
    _, vectors = leading_pairs(symmetric(torch.linspace(1, 0, n, dtype=torch.float64), seed), n, 0)
    assert (vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.usefixtures("iterating")
def test_the_iteration_fixes_the_signs_too() -> None:
    _, vectors = leading_pairs(symmetric(falling("slow"), 0), K, 0)
    assert (vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("n", [3, N])
@pytest.mark.usefixtures("iterating")
def test_a_non_finite_number_is_refused(bad: float, n: int) -> None:
    a = torch.eye(n)
    a[1, 2] = a[2, 1] = bad
    with pytest.raises(NumericError, match=f"affinity of {n} samples .* non-finite"):
        leading_pairs(a, 2, 0)
