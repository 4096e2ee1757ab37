from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.sinkhorn import membership, potentials, reference_membership
from cpp_pipe.store.errors import NumericError

from ...strategies import random_unit_rows, unit_rows
from .closeness import relative_error

CASES = [(32, "0.1"), (32, "0.175"), (60, "0.1"), (60, "0.175")]
TIGHT = 1e-13


def similarity(c: torch.Tensor) -> torch.Tensor:
    return (c @ c.T).abs()


@pytest.mark.parametrize(("n", "eta"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_reference_membership_and_its_partial_gradient_match_golden(
    golden: Callable[[str], dict[str, np.ndarray]], n: int, eta: str, dtype: torch.dtype
) -> None:
    g = golden("sinkhorn")
    s = torch.tensor(g[f"n{n}_absC"], dtype=dtype, requires_grad=True)
    pi = reference_membership(s, eta=float(eta))
    (0.5 * pi.square().sum()).backward()
    exact = dtype == torch.float64
    assert s.grad is not None
    assert relative_error(pi, g[f"n{n}_eta{eta}_Pi5"]) < (1e-10 if exact else 5e-6)
    assert relative_error(s.grad, g[f"n{n}_eta{eta}_grad"]) < (1e-10 if exact else 2e-5)


@pytest.mark.parametrize(("n", "eta"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_converged_membership_and_potentials_match_golden(
    golden: Callable[[str], dict[str, np.ndarray]], n: int, eta: str, dtype: torch.dtype
) -> None:
    g = golden("sinkhorn")
    s = torch.tensor(g[f"n{n}_absC"], dtype=dtype)
    expected = g[f"n{n}_eta{eta}_Pi_converged"]
    bound = 1e-10 if dtype == torch.float64 else 5e-6
    pi = membership(s, eta=float(eta), tolerance=TIGHT)
    u = potentials(s, eta=float(eta), tolerance=TIGHT)
    assert relative_error(pi, expected) < bound
    assert relative_error(n * torch.exp((s + u[:, None] + u) / float(eta)), expected) < bound


@pytest.mark.parametrize("half_iterations", [1, 2, 3, 4])
def test_each_half_iteration_normalises_its_side(half_iterations: int) -> None:
    s = similarity(random_unit_rows(12, 5, 0)).requires_grad_()
    pi = reference_membership(s, eta=0.2, half_iterations=half_iterations)
    sums = pi.sum(1 if half_iterations % 2 else 0)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    (grad,) = torch.autograd.grad(pi.square().sum(), s)
    assert torch.isfinite(grad).all()
    assert grad.abs().max() > 0


def test_the_reference_converges_to_the_same_membership() -> None:
    s = similarity(random_unit_rows(20, 6, 1))
    reference = reference_membership(s, eta=0.15, half_iterations=2001)
    torch.testing.assert_close(membership(s, eta=0.15, tolerance=TIGHT), reference)


@settings(max_examples=40)
@given(unit_rows(max_n=20), st.floats(0.03, 1.0), st.sampled_from([torch.float32, torch.float64]))
def test_membership_is_symmetric_and_its_rows_and_columns_sum_to_one(
    c: torch.Tensor, eta: float, dtype: torch.dtype
) -> None:
    s = similarity(c.to(dtype))
    pi = membership((s + s.T) / 2, eta=eta)
    assert pi.dtype == dtype
    bound = 4e-6 if dtype == torch.float32 else 1e-6  # the documented tolerance of each type
    assert (pi.sum(0) - 1).abs().max() <= bound * 1.5
    assert (pi.sum(1) - 1).abs().max() <= bound * 1.5
    torch.testing.assert_close(pi, pi.T)


@pytest.mark.parametrize("scale", [0.0, 1.0, 40.0])
def test_similarities_far_from_cosines_stay_in_range(scale: float) -> None:
    # exp(±40 / 0.1) is far outside float32; the diagonal keeps the problem solvable.
    noise = torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    s = scale * ((noise + noise.T) / 20 + 5 * torch.eye(30))
    s[0] += 10 * scale
    s[:, 0] += 10 * scale
    pi = membership(s, eta=0.1)
    torch.testing.assert_close(pi.sum(1), torch.ones(30), atol=1e-5, rtol=0)


def connected() -> torch.Tensor:
    return similarity(random_unit_rows(6, 3, 2))


def in_pieces() -> torch.Tensor:
    """Two blocks linked by only exp(-60)."""
    return 12 * torch.block_diag(connected(), connected()[:4, :4])


def two_sided() -> torch.Tensor:
    """A bipartite graph: the eigenvalue -1 of the membership makes I + Π singular."""
    across = torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = torch.zeros(6, 6, dtype=torch.float64)
    s[:3, 3:] = 8 + across
    return s + s.T


@pytest.mark.parametrize("make", [connected, in_pieces, two_sided])
def test_the_implicit_gradient_passes_gradcheck(make: Callable[[], torch.Tensor]) -> None:
    def of_symmetric(a: torch.Tensor) -> torch.Tensor:
        return membership((a + a.T) / 2, eta=0.2, tolerance=1e-14)

    assert torch.autograd.gradcheck(of_symmetric, (make().requires_grad_(),))


def test_the_true_gradient_is_that_of_unrolling_many_iterations() -> None:
    # An oracle without the implicit function theorem.
    s = connected().requires_grad_()
    u = torch.zeros(6, dtype=torch.float64)
    for _ in range(200):
        u = 0.5 * (u + 0.2 * (-np.log(6) - torch.logsumexp((s + u) / 0.2, 1)))
    unrolled = 6 * torch.exp((s + u[:, None] + u) / 0.2)
    weights = random_unit_rows(6, 6, 9)
    (expected,) = torch.autograd.grad((unrolled * weights).sum(), s)
    pi = membership(s, eta=0.2, tolerance=TIGHT)
    (ours,) = torch.autograd.grad((pi * weights).sum(), s)
    torch.testing.assert_close(ours, (expected + expected.T) / 2)


def test_a_non_finite_similarity_is_refused() -> None:
    s = connected()
    s[1, 2] = s[2, 1] = torch.nan
    with pytest.raises(NumericError, match="non-finite"):
        membership(s, eta=0.1)


def test_too_few_iterations_raise_with_the_residual() -> None:
    with pytest.raises(NumericError, match="raise eta or max_iterations"):
        membership(
            similarity(random_unit_rows(40, 2, 0)), eta=0.01, tolerance=0.0, max_iterations=8
        )


def test_a_membership_without_checks_is_the_same() -> None:
    c = random_unit_rows(40, 6, 2)
    similarity = (c @ c.T).abs()
    looked = membership(similarity, eta=0.2)
    blind = membership(similarity, eta=0.2, check=False)
    torch.testing.assert_close(blind, looked, atol=1e-6, rtol=0)


def test_an_unconverged_membership_without_checks_is_nan() -> None:
    similarity = torch.eye(12).roll(1, 0)
    similarity = similarity + similarity.T + 5 * torch.arange(12) * torch.arange(12)[:, None] / 121
    assert membership(similarity, eta=0.01, check=False).isnan().any()
