from collections.abc import Callable

import numpy as np
import pytest
import torch

from cpp_pipe.stages.algorithms.heads import Heads, principal_directions, unit_rows

from ...strategies import random_unit_rows


def make(*, seed: int = 0, **settings: bool) -> Heads:
    return Heads(d=10, h=7, p=4, generator=torch.Generator().manual_seed(seed), **settings)


def test_names_and_shapes_are_the_reference_s(
    golden: Callable[[str], dict[str, np.ndarray]],
) -> None:
    g = golden("train_steps")
    prefix = "w0.init."
    theirs = {k.removeprefix(prefix): v.shape for k, v in g.items() if k.startswith(prefix)}
    ours = {k: tuple(v.shape) for k, v in Heads(d=24, h=32, p=8).state_dict().items()}
    assert ours == theirs


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("shared_heads", [False, True])
def test_both_outputs_are_unit_rows(skip: bool, shared_heads: bool) -> None:
    heads = make(skip=skip, shared_heads=shared_heads)
    z, c = heads(random_unit_rows(9, 10, 0).float())
    assert z.shape == c.shape == (9, 4)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(9))
    torch.testing.assert_close(c.norm(dim=1), torch.ones(9))
    assert (z is c) == shared_heads


def test_the_generator_alone_decides_the_weights() -> None:
    before = torch.get_rng_state()
    first, same, other = (make(seed=s, skip=True).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert not torch.equal(first["subspace.0.weight"], other["subspace.0.weight"])


def test_weights_follow_torch_s_own_distributions() -> None:
    ours = Heads(d=400, h=300, p=2, generator=torch.Generator().manual_seed(0)).state_dict()
    theirs = torch.nn.Linear(400, 300).state_dict()
    for name in ("weight", "bias"):
        values = ours[f"pre_feature.0.{name}"]
        assert values.abs().max() <= 1 / 20
        # Uniform on ±1/20; the reference's layer is drawn again, so its spread is a sample too.
        torch.testing.assert_close(values.std(), theirs[name].std(), rtol=0.15, atol=0)


@pytest.mark.parametrize("p", [4, 10, 13])
@pytest.mark.parametrize("shared_heads", [False, True])
def test_heads_start_as_the_normalised_projections_on_principal_directions(
    p: int, shared_heads: bool
) -> None:
    x = random_unit_rows(50, 10, 3).float() + 0.5
    heads = Heads(d=10, h=7, p=p, shared_heads=shared_heads, skip=True)
    mean, components = principal_directions(x, p)
    heads.start_from(mean, components)
    expected = torch.nn.functional.normalize((x - mean) @ components.T, dim=1)
    for mode in (True, False):
        z, c = heads.train(mode)(x)
        assert torch.equal(z, c)
        torch.testing.assert_close(z, expected)


def test_principal_directions_are_those_of_a_singular_value_decomposition() -> None:
    x = random_unit_rows(60, 8, 4) @ torch.diag(torch.arange(8, 0, -1.0, dtype=torch.float64))
    mean, components = principal_directions(x, 5, chunk=7)
    torch.testing.assert_close(mean, x.mean(0))
    right = torch.linalg.svd(x - x.mean(0))[2][:5]
    torch.testing.assert_close((components @ right.T).abs(), torch.eye(5, dtype=torch.float64))
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_directions_without_variance_are_zero_rows() -> None:
    flat = random_unit_rows(40, 3, 0) @ random_unit_rows(3, 8, 1)
    for x in (flat, flat.float(), flat.half()):
        components = principal_directions(x[:, :8], 12)[1]
        assert components.shape == (12, 8)
        assert (components[:3].norm(dim=1) > 0.99).all()
        assert (components[8:] == 0).all()
    assert (principal_directions(flat, 8)[1][3:] == 0).all()
    assert (principal_directions(torch.ones(5, 3), 2)[1] == 0).all()


def test_half_precision_rows_give_the_directions_of_their_values() -> None:
    x = random_unit_rows(300, 6, 0).half()
    mean, components = principal_directions(x, 2, chunk=64)
    expected_mean, expected = principal_directions(x.double(), 2)
    assert mean.dtype == components.dtype == torch.float32
    torch.testing.assert_close(mean.double(), expected_mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(components.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("skip", [False, True])
def test_copying_the_feature_head_makes_the_outputs_equal(skip: bool) -> None:
    heads = make(skip=skip)
    x = random_unit_rows(6, 10, 0).float()
    assert not torch.equal(*heads(x))
    heads.copy_feature_head_to_cluster_head()
    assert torch.equal(*heads(x))
    assert heads.subspace[0] is not heads.cluster[0]


def test_zero_rows_stay_zero_without_a_gradient() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    rows = unit_rows(x)
    rows.sum().backward()
    torch.testing.assert_close(rows, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[0.0, 0.0], [0.032, -0.024]]))
