from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.coding_length import (
    CodingLength,
    Moments,
    coding_length,
    second_moments,
)

from ...strategies import random_rotation, random_unit_rows, seeds, unit_rows
from .closeness import relative_error
from .moments import coding_length_of

EPS_SQ = 0.1
K = 4


def moments_in_two_parts(z: torch.Tensor, labels: torch.Tensor, k: int, cut: int) -> Moments:
    first, last = second_moments(z[:cut], labels[:cut], k), second_moments(z[cut:], labels[cut:], k)
    return Moments(first.second + last.second, first.counts + last.counts)


def measure_moments(
    z: torch.Tensor, labels: torch.Tensor, k: int, *, eps_sq: float
) -> CodingLength:
    return coding_length_of(moments_in_two_parts(z, labels, k, len(z) // 2), eps_sq=eps_sq)


def random_labels(n: int, seed: int) -> torch.Tensor:
    return torch.randint(0, K, (n,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prefix", ["a_", "b_"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("measure", [coding_length, measure_moments])
def test_coding_length_matches_golden(
    golden: Callable[[str], dict[str, np.ndarray]],
    prefix: str,
    dtype: torch.dtype,
    measure: Callable[..., CodingLength],
) -> None:
    g = golden("coding_length")
    z = torch.tensor(g[f"{prefix}X"], dtype=dtype)
    labels = torch.tensor(g[f"{prefix}membership"])
    out = measure(z, labels, int(g[f"{prefix}num_clusters"]), eps_sq=EPS_SQ)
    bound = 1e-12 if dtype == torch.float64 else 2e-6
    for name, value in out._asdict().items():
        assert value.dtype == torch.float64
        assert relative_error(value, g[f"{prefix}{name}"]) < bound, name


@given(unit_rows(), seeds)
def test_coding_length_ignores_order_rotation_and_label_names(z: torch.Tensor, seed: int) -> None:
    labels = random_labels(len(z), seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(z), generator=generator)
    renamed = torch.randperm(K, generator=generator)
    total = coding_length(z, labels, K, eps_sq=EPS_SQ).total
    turned = z[order] @ random_rotation(z.shape[1], seed)
    again = coding_length(turned, renamed[labels[order]], K, eps_sq=EPS_SQ)
    torch.testing.assert_close(again.total, total)


@given(unit_rows(max_n=20), st.integers(1, 19), seeds)
def test_moments_summed_over_parts_give_the_coding_length_of_all_rows(
    z: torch.Tensor, cut: int, seed: int
) -> None:
    labels = random_labels(len(z), seed)
    parts = coding_length_of(moments_in_two_parts(z, labels, K, cut), eps_sq=EPS_SQ)
    whole = coding_length(z, labels, K, eps_sq=EPS_SQ)
    for part, all_at_once in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, all_at_once)


def test_true_clusters_cost_less_than_one_cluster_and_than_shuffled_ones() -> None:
    axes = torch.eye(3, 12, dtype=torch.float64).repeat_interleave(40, 0)
    z = torch.nn.functional.normalize(axes + 0.1 * random_unit_rows(120, 12, 0), dim=1)
    truth = torch.arange(3).repeat_interleave(40)
    shuffled = truth[torch.randperm(120, generator=torch.Generator().manual_seed(0))]

    def total(labels: torch.Tensor) -> float:
        return float(coding_length(z, labels, 3, eps_sq=EPS_SQ).total)

    assert total(truth) < total(torch.zeros(120, dtype=torch.long)) < total(shuffled)


def test_rows_beyond_a_block_add_up_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    z, labels = random_unit_rows(50, 3, 0), torch.zeros(50, dtype=torch.long)
    whole = coding_length(z, labels, 1, eps_sq=EPS_SQ).total
    monkeypatch.setattr("cpp_pipe.stages.algorithms.coding_length.BLOCK", 7)
    torch.testing.assert_close(coding_length(z, labels, 1, eps_sq=EPS_SQ).total, whole)


def test_half_precision_features_are_measured_in_float32_or_wider() -> None:
    z, labels = random_unit_rows(60, 5, 0).half(), random_labels(60, 0)
    half = coding_length(z, labels, K, eps_sq=EPS_SQ).total
    exact = coding_length(z.double(), labels, K, eps_sq=EPS_SQ).total
    torch.testing.assert_close(half, exact, rtol=2e-6, atol=0)
