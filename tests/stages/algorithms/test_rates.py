import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from cpp_pipe.stages.algorithms import rates
from cpp_pipe.stages.algorithms.rates import coding_rate, conditional_rate, sampled_columns
from cpp_pipe.stages.algorithms.symmetric import LEAF, Triangle

from ...strategies import (
    random_memberships,
    random_rotation,
    random_unit_rows,
    seeds,
    unit_rows,
)
from .closeness import relative_error

EPS_SQ = 0.1
ONE_COLUMN = 1
"""Bytes that no work fits in, so that columns are taken singly and without packing."""
RATE_SHAPES = [(8, 8), (64, 16), (256, 32), (96, 128), (1000, 64), (32, 512)]
COMPRESS_SHAPES = [(64, 16), (256, 32), (96, 128)]


def direct_conditional_rate(z: torch.Tensor, pi: torch.Tensor) -> torch.Tensor:
    """The formula as written, one group after the other, by LU."""
    n, p = z.shape
    total = z.new_zeros(())
    for column in pi.T:
        t = column.sum() + 1e-8
        a = torch.eye(p, dtype=z.dtype) + p / (t * EPS_SQ) * z.T @ torch.diag(column) @ z
        total = total + t / (2 * n) * torch.logdet(a)
    return total


@pytest.mark.parametrize(("n", "p"), RATE_SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_coding_rate_and_gradient_match_golden(
    golden: Callable[[str], dict[str, np.ndarray]], n: int, p: int, dtype: torch.dtype
) -> None:
    g = golden("coding_rate")
    z = torch.tensor(g[f"n{n}_p{p}_Z"], dtype=dtype, requires_grad=True)
    rate = coding_rate(z, eps_sq=float(g["eps"]))
    rate.backward()
    exact = dtype == torch.float64
    assert relative_error(rate, g[f"n{n}_p{p}_R"]) < (1e-12 if exact else 1e-6)
    assert z.grad is not None
    assert relative_error(z.grad, g[f"n{n}_p{p}_gradR_Z"]) < (1e-11 if exact else 2e-5)


@pytest.mark.parametrize(("n", "p"), COMPRESS_SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "chunk_bytes",
    [2**28, *(pytest.param(few, marks=pytest.mark.slow) for few in (200_000, ONE_COLUMN))],
)
def test_conditional_rate_and_gradients_match_golden(
    golden: Callable[[str], dict[str, np.ndarray]],
    n: int,
    p: int,
    dtype: torch.dtype,
    chunk_bytes: int,
) -> None:
    g = golden("compress_loss")
    z = torch.tensor(g[f"n{n}_p{p}_Z"], dtype=dtype, requires_grad=True)
    pi = torch.tensor(g[f"n{n}_p{p}_Pi"], dtype=dtype, requires_grad=True)
    rate = conditional_rate(z, pi, eps_sq=float(g["eps"]), chunk_bytes=chunk_bytes)
    rate.backward()
    exact = dtype == torch.float64
    assert relative_error(rate, g[f"n{n}_p{p}_Rc"]) < (1e-12 if exact else 1e-6)
    assert z.grad is not None
    assert pi.grad is not None
    assert relative_error(z.grad, g[f"n{n}_p{p}_gradRc_Z"]) < (1e-12 if exact else 2e-5)
    assert relative_error(pi.grad, g[f"n{n}_p{p}_gradRc_Pi"]) < (1e-12 if exact else 2e-5)
    loss = conditional_rate(z, pi, eps_sq=float(g["eps"])) - coding_rate(z, eps_sq=float(g["eps"]))
    assert abs(loss.item() - float(g[f"n{n}_p{p}_loss"])) < (1e-11 if exact else 1e-5)


@pytest.mark.parametrize("chunk_bytes", [2**28, 2000, ONE_COLUMN])
def test_closed_form_gradients_pass_gradcheck(chunk_bytes: int) -> None:
    z = random_unit_rows(7, 4, 0).requires_grad_()
    pi = random_memberships(7, 5, 1).requires_grad_()

    def rate(z: torch.Tensor, pi: torch.Tensor) -> torch.Tensor:
        return conditional_rate(z, pi, eps_sq=EPS_SQ, chunk_bytes=chunk_bytes)

    assert torch.autograd.gradcheck(rate, (z, pi))
    assert torch.autograd.gradcheck(lambda z: coding_rate(z, eps_sq=EPS_SQ), (z,))


def test_sampled_columns_pass_gradcheck_and_scale_by_their_share() -> None:
    z = random_unit_rows(6, 3, 0).requires_grad_()
    pi = random_memberships(6, 6, 1).requires_grad_()
    columns = torch.tensor([4, 1])

    def rate(z: torch.Tensor, pi: torch.Tensor) -> torch.Tensor:
        return conditional_rate(z, pi, eps_sq=EPS_SQ, columns=columns)

    assert torch.autograd.gradcheck(rate, (z, pi))
    torch.testing.assert_close(rate(z, pi), 3 * direct_conditional_rate(z, pi[:, columns]))


@pytest.mark.parametrize("wanted", ["z", "pi"])
@pytest.mark.parametrize("chunk_bytes", [2**28, ONE_COLUMN])
def test_asking_for_one_gradient_gives_the_same_as_asking_for_both(
    wanted: str, chunk_bytes: int
) -> None:
    both = {
        "z": random_unit_rows(9, 5, 2).requires_grad_(),
        "pi": random_memberships(9, 9, 3).requires_grad_(),
    }
    conditional_rate(**both, eps_sq=EPS_SQ, chunk_bytes=chunk_bytes).backward()
    one = {k: v.detach().requires_grad_(k == wanted) for k, v in both.items()}
    conditional_rate(**one, eps_sq=EPS_SQ, chunk_bytes=chunk_bytes).backward()
    torch.testing.assert_close(one[wanted].grad, both[wanted].grad)


@given(unit_rows(), st.integers(1, 9), seeds)
def test_every_form_of_the_conditional_rate_is_the_formula(
    z: torch.Tensor, m: int, seed: int
) -> None:
    pi = random_memberships(len(z), m, seed)
    expected = direct_conditional_rate(z, pi)
    for chunk_bytes in (2**28, 3000, ONE_COLUMN):
        with torch.no_grad():
            value = conditional_rate(z, pi, eps_sq=EPS_SQ, chunk_bytes=chunk_bytes)
        torch.testing.assert_close(value, expected)
        value = conditional_rate(
            z, pi.clone().requires_grad_(), eps_sq=EPS_SQ, chunk_bytes=chunk_bytes
        )
        torch.testing.assert_close(value.detach(), expected)


@given(unit_rows(), seeds)
def test_rates_ignore_the_order_of_samples_and_rotations(z: torch.Tensor, seed: int) -> None:
    pi = random_memberships(len(z), len(z), seed)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))
    turned = z @ random_rotation(z.shape[1], seed)
    rate, conditional = coding_rate(z, eps_sq=EPS_SQ), conditional_rate(z, pi, eps_sq=EPS_SQ)
    torch.testing.assert_close(coding_rate(z[order], eps_sq=EPS_SQ), rate)
    torch.testing.assert_close(coding_rate(turned, eps_sq=EPS_SQ), rate)
    torch.testing.assert_close(conditional_rate(z[order], pi[order], eps_sq=EPS_SQ), conditional)
    torch.testing.assert_close(conditional_rate(z, pi[:, order], eps_sq=EPS_SQ), conditional)
    torch.testing.assert_close(conditional_rate(turned, pi, eps_sq=EPS_SQ), conditional)


@given(unit_rows(), st.integers(1, 9), seeds)
def test_the_conditional_rate_is_between_zero_and_the_rate(
    z: torch.Tensor, m: int, seed: int
) -> None:
    # ln det is concave, and groups whose memberships sum to one average to the whole.
    pi = random_memberships(len(z), m, seed)
    conditional = float(conditional_rate(z, pi, eps_sq=EPS_SQ))
    assert 0 <= conditional <= float(coding_rate(z, eps_sq=EPS_SQ)) * (1 + 1e-6)


def test_one_group_of_everything_costs_the_coding_rate() -> None:
    z = random_unit_rows(30, 6, 5)
    everything = torch.ones(30, 1, dtype=torch.float64)
    torch.testing.assert_close(
        conditional_rate(z, everything, eps_sq=EPS_SQ), coding_rate(z, eps_sq=EPS_SQ)
    )


def test_the_mean_over_all_column_samples_is_the_full_sum() -> None:
    z, pi = random_unit_rows(6, 3, 0), random_memberships(6, 6, 1)
    parts = [
        conditional_rate(z, pi, eps_sq=EPS_SQ, columns=pair)
        for pair in torch.combinations(torch.arange(6), 2)
    ]
    full = conditional_rate(z, pi, eps_sq=EPS_SQ)
    torch.testing.assert_close(torch.stack(parts).mean(), full)


def test_columns_are_drawn_uniformly_and_without_replacement() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([sampled_columns(10, 3, generator) for _ in range(4000)])
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    share = drawn.flatten().bincount(minlength=10) / 4000
    # Standard error of a share of 0.3 in 4000 draws is 0.007; five of them.
    assert float((share - 0.3).abs().max()) < 0.036
    assert sampled_columns(4, 9, generator).tolist() == [0, 1, 2, 3]


def test_half_precision_features_are_measured_in_float32() -> None:
    z = random_unit_rows(20, 6, 7)
    pi = random_memberships(20, 20, 8)
    half = z.half()
    for value, exact in (
        (coding_rate(half, eps_sq=EPS_SQ), coding_rate(half.double(), eps_sq=EPS_SQ)),
        (
            conditional_rate(half, pi, eps_sq=EPS_SQ),
            conditional_rate(half.double(), pi, eps_sq=EPS_SQ),
        ),
    ):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=0)


def test_non_finite_features_give_a_non_finite_rate() -> None:
    z, pi = random_unit_rows(5, 3, 0), random_memberships(5, 5, 0)
    z[2, 1] = torch.nan
    assert not torch.isfinite(coding_rate(z, eps_sq=EPS_SQ))
    assert not torch.isfinite(conditional_rate(z, pi, eps_sq=EPS_SQ))
    assert not torch.isfinite(conditional_rate(z, pi.requires_grad_(), eps_sq=EPS_SQ))


class Meter(TorchDispatchMode):
    """Tracks the bytes of live tensors created within."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if not isinstance(tensor, torch.Tensor) or tensor._base is not None:
                continue
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.seen:
                self.seen.add(storage.data_ptr())
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(tensor, self.free, storage.data_ptr(), storage.nbytes())
        return out

    def free(self, pointer: int, size: int) -> None:
        self.seen.discard(pointer)
        self.live -= size


@pytest.mark.parametrize("m", [128, 400])
@pytest.mark.parametrize("chunk_bytes", [2**21, 2**19, 2**17])
def test_work_stays_within_the_bytes_allowed(chunk_bytes: int, m: int) -> None:
    n, p = 128, 32
    z = random_unit_rows(n, p, 0).float().requires_grad_()
    pi = random_memberships(n, m, 0).float().requires_grad_()
    with Meter() as meter:
        conditional_rate(z, pi, eps_sq=EPS_SQ, chunk_bytes=chunk_bytes)
    # Beside the chunks: the gradients, and a temporary product of the size of each.
    assert meter.peak <= chunk_bytes + 2 * 4 * (n * m + n * p)


def plain_inverse_factor_(a: torch.Tensor) -> torch.Tensor:
    """Overwrites `a` with the inverse of its Cholesky factor: the first version."""
    p = a.shape[-1]
    if p <= LEAF:
        factor = torch.linalg.cholesky(a)
        eye = torch.eye(p, dtype=a.dtype).expand_as(a)
        a.copy_(torch.linalg.solve_triangular(factor, eye, upper=False))
        return 2 * factor.diagonal(dim1=1, dim2=2).double().log().sum(1)
    h = p // 2
    top, above, below, low = a[:, :h, :h], a[:, :h, h:], a[:, h:, :h], a[:, h:, h:]
    logdet = plain_inverse_factor_(top)
    left = below @ top.mT
    low.sub_(left @ left.mT)
    logdet = logdet + plain_inverse_factor_(low)
    below.copy_(low @ (left @ top)).neg_()
    above.zero_()
    return logdet


def plainly_packed(z: torch.Tensor, pi: torch.Tensor, width: int) -> list[torch.Tensor]:
    """Value and gradients by packed triangles, each result in new memory: the first version."""
    (n, p), triangle = z.shape, Triangle(z.shape[1], z.device)
    sizes, scale = pi.sum(0) + 1e-8, p / (2 * n * EPS_SQ)
    alpha, outer = p / (sizes * EPS_SQ), triangle.pack_outer(z)
    weight = scale * (2 - triangle.is_diagonal.to(z.dtype))
    value, grad_pi = torch.zeros((), dtype=torch.float64), torch.empty_like(pi)
    grad_z, pulled = torch.empty_like(z), torch.zeros_like(outer)
    for start in range(0, pi.shape[1], width):
        part = slice(start, start + width)
        a = triangle.unpack(pi[:, part].mT @ outer).mul_(alpha[part, None, None])
        a.diagonal(dim1=1, dim2=2).add_(1)
        logdet = plain_inverse_factor_(a)
        inverse = a.mT @ a
        value += (sizes[part] * logdet).sum() / (2 * n)
        trace = inverse.diagonal(dim1=1, dim2=2).sum(1)
        grad_pi[:, part] = ((logdet - p + trace) / (2 * n)).to(trace.dtype)
        g = triangle.pack(inverse).mul_(weight)
        grad_pi[:, part] += outer @ g.mT
        pulled.addmm_(pi[:, part], g)
    for start in range(0, n, width):
        part = slice(start, start + width)
        full = triangle.unpack(pulled[part])
        full.diagonal(dim1=1, dim2=2).mul_(2)
        grad_z[part] = (full @ z[part, :, None]).squeeze(2)
    return [value.to(z.dtype), grad_z, grad_pi]


@pytest.mark.parametrize(
    ("n", "m", "p"), [(96, 96, 32), (97, 97, 32), (61, 20, 24), (30, 50, 17), (5, 4, 128)]
)
def test_buffers_used_again_give_the_bits_of_new_ones(
    n: int, m: int, p: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trained heads keep their content: the version of an artifact promises it.
    z = random_unit_rows(n, p, 0).float().requires_grad_()
    pi = random_memberships(n, m, 1).float().requires_grad_()
    q, width = p * (p + 1) // 2, 16
    chunk_bytes = 4 * ((n + max(n, m)) * q + width * (2 * q + 4 * p * p))
    for matrices in (1, 5, 8, 1000):
        monkeypatch.setattr(rates, "UNPACKED", matrices * p * p)
        value = conditional_rate(z, pi, eps_sq=EPS_SQ, chunk_bytes=chunk_bytes)
        ours = [value, *torch.autograd.grad(value, (z, pi))]
        plain = plainly_packed(z.detach(), pi.detach(), width)
        assert all(map(torch.equal, ours, plain))
