"""The maths on a GPU agrees with the CPU's. `make gpu` runs these tests where there is a card."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from cpp_pipe.stages.algorithms.clustering.krylov import DENSE_ORDER, leading_pairs
from cpp_pipe.stages.algorithms.clustering.memberships import Memberships
from cpp_pipe.stages.algorithms.duplicates.near_duplicates import near_duplicates
from cpp_pipe.stages.algorithms.rates import coding_rate, conditional_rate
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.algorithms.training import Trainer, project
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.algorithms.votes import caption_votes
from cpp_pipe.stages.algorithms.whitening import neighbour_directions

from ...strategies import random_unit_rows
from .closeness import relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SETTINGS: dict[str, Any] = {
    "hidden": 64,
    "features": 40,
    "batch": 96,
    "epochs": 2,
    "columns": 32,
    "start": "principal",
}


@pytest.fixture(params=["exact", "sampled", "shared heads", "random start"])
def config(request: pytest.FixtureRequest) -> TrainingConfig:
    """Recipes of all branches of a step."""
    special: dict[str, dict[str, Any]] = {
        "exact": {"columns": 0},
        "shared heads": {"shared_heads": True},
        "random start": {"start": "random", "warmup_steps": 2, "optimizer": "sgd"},
    }
    return TrainingConfig(**(SETTINGS | special.get(request.param, {})))


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Any operation that waits for the GPU is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this is a prototype
        torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def rows(n: int = 400, d: int = 48) -> torch.Tensor:
    return random_unit_rows(n, d, 0).half()


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Of a tensor on any device, relative to the largest number that is expected."""
    return relative_error(found.detach().cpu(), expected.detach().cpu().double().numpy())


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_a_training_on_a_gpu_follows_that_on_the_cpu(place: str, config: TrainingConfig) -> None:
    here, there = Trainer(rows(), config, "cpu"), Trainer(rows().to(place), config, "cuda")
    ours = torch.stack([here.step().loss for _ in range(here.total_steps)])
    theirs = torch.stack([there.step().loss for _ in range(here.total_steps)])
    assert error(theirs, ours) < 1e-3
    z, _ = project(there.finish(), rows(), 128)
    expected, _ = project(here.finish(), rows(), 128)
    assert (z.float() * expected.float()).sum(1).min() > 0.99


def test_a_training_goes_on_from_its_state_on_a_gpu(config: TrainingConfig) -> None:
    whole, first, second = (Trainer(rows().cuda(), config, "cuda") for _ in range(3))
    losses = [whole.step().loss for _ in range(4)]
    for _ in range(2):
        first.step()
    second.load_state(first.state())
    resumed = torch.stack([second.step().loss for _ in range(2)])
    assert error(resumed, torch.stack(losses[2:])) < 1e-5


def test_no_step_of_a_training_waits_for_the_gpu(
    config: TrainingConfig, request: pytest.FixtureRequest
) -> None:
    trainer = Trainer(rows().cuda(), config, "cuda")
    trainer.step()  # loads libraries, and moves the order of the epoch
    request.getfixturevalue("no_waiting")
    for _ in range(trainer.steps_per_epoch - 1):
        trainer.step()


@pytest.mark.parametrize(("n", "p"), [(64, 16), (192, 130), (96, 200)])
@pytest.mark.parametrize("chunk_bytes", [None, 2**21, 1])
def test_rates_and_their_gradients_are_those_of_float64(
    n: int, p: int, chunk_bytes: int | None
) -> None:
    z = random_unit_rows(n, p, 1)
    pi = membership((z @ z.mT).abs(), eta=0.175)

    def both(device: str, dtype: torch.dtype) -> list[torch.Tensor]:
        a, b = (each.to(device, dtype).detach().requires_grad_() for each in (z, pi))
        conditional = conditional_rate(a, b, eps_sq=0.1, chunk_bytes=chunk_bytes)
        rate = coding_rate(a, eps_sq=0.1)
        return [rate, conditional, *torch.autograd.grad(conditional - rate, (a, b))]

    for found, exact in zip(both("cuda", torch.float32), both("cpu", torch.float64), strict=True):
        assert error(found, exact) < 1e-4


def test_tf32_and_autocast_leave_the_rate_in_float32() -> None:
    z = random_unit_rows(96, 200, 1).float().cuda()
    pi = membership((z @ z.mT).abs(), eta=0.175)
    plain = conditional_rate(z, pi, eps_sq=0.1)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with torch.autocast("cuda", torch.bfloat16):
            coarse = conditional_rate(z, pi, eps_sq=0.1)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(plain, coarse)


def test_a_membership_without_checks_is_doubly_stochastic_or_nan() -> None:
    z = random_unit_rows(300, 16, 2).float().cuda()
    pi = membership((z @ z.mT).abs(), eta=0.1, check=False)
    for sums in (pi.sum(0), pi.sum(1)):
        assert (sums - 1).abs().max() < 1e-4
    assert torch.isnan(membership(torch.full((9, 9), torch.inf).cuda(), eta=0.1, check=False)).all()


def test_eigenpairs_and_links_of_landmarks_are_those_of_the_cpu() -> None:
    points = random_unit_rows(DENSE_ORDER + 300, 12, 3).float().numpy()
    others = random_unit_rows(500, 12, 4).float().numpy()
    found = []
    for device in ("cpu", "cuda"):
        affinity = Memberships.fit(points, eta=0.1, device=device)
        values, vectors = affinity.eigenpairs(10, 0)
        table = affinity.sharing(np.arange(len(points)) % 4, 4)
        found.append((values, np.abs(vectors[:, 0]), affinity.links(others, [table]).average(0)))
    for ours, theirs in zip(*found, strict=True):
        assert np.abs(ours - theirs).max() < 1e-2 * np.abs(ours).max()


def test_a_full_decomposition_is_that_of_the_cpu() -> None:
    x = random_unit_rows(200, 30, 5)
    values, vectors = leading_pairs((x @ x.mT).float().cuda(), 5, 0)
    expected, _ = leading_pairs((x @ x.mT).float(), 5, 0)
    assert error(values, expected) < 1e-4
    assert error(vectors.mT @ vectors, torch.eye(5)) < 1e-4


def test_whitening_is_that_of_the_cpu() -> None:
    x = rows(2000)
    (mean, directions), (expected_mean, expected) = (
        neighbour_directions(x.to(device), 8, seed=0) for device in ("cuda", "cpu")
    )
    assert error(mean, expected_mean) < 1e-4
    assert error(directions, expected) < 1e-2


def test_near_duplicates_are_those_of_the_cpu() -> None:
    x = random_unit_rows(3000, 64, 6).float()
    x[1000:1100] = x[:100] + 1e-3 * random_unit_rows(100, 64, 7).float()
    here, there = (
        near_duplicates(x, torch.arange(len(x)), 0.95, device=device) for device in ("cpu", "cuda")
    )
    assert (here.kept[1000:1100] == np.arange(100)).all()
    assert (here.kept == there.kept).all()


def test_votes_for_words_are_those_of_the_cpu() -> None:
    x, t = random_unit_rows(200, 32, 8).float(), random_unit_rows(50, 32, 9).float()
    cluster = np.arange(200) % 5
    here = caption_votes(x, t, cluster, 5).toarray()
    there = caption_votes(x.cuda(), t.cuda(), cluster, 5).toarray()
    assert np.abs(here - there).max() < 1e-3
