import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.symmetric import (
    Triangle,
    full_precision,
    inverse_factor_,
    log_determinant,
)

from ...strategies import random_unit_rows, seeds


def positive_definite(c: int, p: int, seed: int) -> torch.Tensor:
    x = random_unit_rows(c * 2 * p, p, seed).view(c, 2 * p, p)
    gram = 10 * x.mT @ x
    return torch.eye(p, dtype=torch.float64) + (gram + gram.mT) / 2


@pytest.mark.parametrize("p", [1, 2, 15, 16, 17, 31, 40, 67])
def test_the_blocked_factor_inverts_and_measures_like_lapack(p: int) -> None:
    a = positive_definite(3, p, seed=p)
    factor = a.clone()
    logdet = inverse_factor_(factor)
    torch.testing.assert_close(factor.mT @ factor, torch.linalg.inv(a), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(logdet, torch.logdet(a))


@pytest.mark.parametrize("p", [1, 16, 17, 33, 40, 128])
def test_a_given_buffer_changes_no_bit_and_only_it_is_written(p: int) -> None:
    a = positive_definite(3, p, seed=p).float()
    one, other = a.clone(), a.clone()
    # The neighbours in the same storage must survive.
    storage = torch.full((5, p, p), 7.0)
    logdet = inverse_factor_(other, work=storage[1:4])
    assert torch.equal(inverse_factor_(one), logdet)
    assert torch.equal(one, other)
    assert bool((storage[[0, 4]] == 7).all())


def test_the_factor_reads_the_lower_triangle_only() -> None:
    a = positive_definite(2, 40, seed=0)
    broken = a + torch.triu(torch.full_like(a, torch.nan), 1)
    torch.testing.assert_close(inverse_factor_(broken), torch.logdet(a))


@pytest.mark.parametrize("p", [4, 40])
def test_only_matrices_that_are_not_positive_definite_give_nan(p: int) -> None:
    a = positive_definite(3, p, seed=1)
    expected = torch.logdet(a)
    a[1, -1, -1] = -1.0
    for logdet in (log_determinant(a), inverse_factor_(a.clone())):
        assert torch.isnan(logdet).tolist() == [False, True, False]
        torch.testing.assert_close(logdet[[0, 2]], expected[[0, 2]])


def test_near_rank_one_clusters_keep_the_precision_of_lapack_in_float32() -> None:
    # The matrices at the end of training: a tight cluster gives I plus some 1000 v vᵀ.
    p = 128
    v = random_unit_rows(8, p, 3)
    exact = torch.eye(p, dtype=torch.float64) + 1280 * v[:, :, None] * v[:, None, :]
    logdet = inverse_factor_(exact.float())
    lapack = 2 * torch.linalg.cholesky(exact.float()).diagonal(dim1=1, dim2=2).log().sum(1)
    truth = torch.logdet(exact)
    ours, theirs = (logdet - truth).abs().max(), (lapack - truth).abs().max()
    assert ours < 4 * theirs + 1e-5


@given(st.integers(1, 9), st.integers(1, 5), seeds)
def test_unpacking_a_packed_triangle_gives_the_matrix_back(p: int, c: int, seed: int) -> None:
    a = positive_definite(c, p, seed)
    triangle = Triangle(p, a.device)
    assert torch.equal(triangle.unpack(triangle.pack(a)), a)
    packed = triangle.pack(a, out=torch.full((c, p * (p + 1) // 2), torch.nan, dtype=a.dtype))
    assert torch.equal(packed, triangle.pack(a))
    assert torch.equal(triangle.unpack(packed, out=torch.full_like(a, torch.nan)), a)


@given(st.integers(1, 9), st.integers(1, 5), seeds)
def test_packed_outer_products_are_those_of_the_rows(p: int, n: int, seed: int) -> None:
    z = random_unit_rows(n, p, seed)
    triangle = Triangle(p, z.device)
    assert torch.equal(triangle.pack_outer(z), triangle.pack(z[:, :, None] * z[:, None, :]))


def test_full_precision_restores_the_setting() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
