import numpy as np
import pytest
import torch

from cpp_pipe.stages.algorithms import whitening
from cpp_pipe.stages.algorithms.heads import Heads, leading_directions, unit_rows
from cpp_pipe.stages.algorithms.training import Trainer, project
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.algorithms.whitening import neighbour_directions

from ...strategies import random_unit_rows


def noisy_groups(k: int, each: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Groups that differ along 8 axes, masked by much larger variation along 4 others."""
    generator = np.random.default_rng(seed)
    labels = np.arange(k * each) % k
    centres = generator.standard_normal((k, 8))
    within = 0.3 * generator.standard_normal((k * each, 8))
    noise = 3.0 * generator.standard_normal((k * each, 4))
    rows = np.hstack([centres[labels] + within, noise]).astype(np.float32)
    return torch.from_numpy(rows), labels


def whitened(x: torch.Tensor, p: int, seed: int = 0) -> torch.Tensor:
    mean, directions = neighbour_directions(x, p, seed=seed)
    return unit_rows((x - mean) @ directions.mT)


def same_label(z: torch.Tensor, labels: np.ndarray) -> float:
    cosines = z @ z.mT
    cosines.fill_diagonal_(-2)
    nearest = cosines.topk(5, dim=1).indices.numpy()
    return float((labels[nearest] == labels[:, None]).mean())


def test_neighbours_of_whitened_rows_are_of_the_same_group_more_often() -> None:
    x, labels = noisy_groups(10, 60)
    before = same_label(unit_rows(x - x.mean(0)), labels)
    assert same_label(whitened(x, 12), labels) > before + 0.1


def test_the_map_is_the_formula_in_float64() -> None:
    """S of the three nearest rows, shrunk by a half, computed independently in NumPy."""
    x, _ = noisy_groups(5, 40)
    rows = x.numpy().astype(np.float64)
    c = rows - rows.mean(0)
    c /= np.linalg.norm(c, axis=1, keepdims=True)
    cosines = c @ c.T
    cosines[cosines >= whitening.NEAR_DUPLICATE] = -np.inf
    np.fill_diagonal(cosines, -np.inf)
    pairs = [
        (i, j) for i in range(len(c)) for j in np.argsort(-cosines[i])[: whitening.FEW_NEIGHBOURS]
    ]
    s = np.mean([np.outer(c[i] - c[j], c[i] - c[j]) for i, j in pairs if cosines[i, j] > -2], 0)
    s = 0.5 * s + 0.5 * np.trace(s) / len(s) * np.eye(len(s))
    values, vectors = np.linalg.eigh(s)
    white = c @ (vectors / np.sqrt(values)) @ vectors.T
    gram = whitened(x, 12).double().numpy()
    expected = white / np.linalg.norm(white, axis=1, keepdims=True)
    np.testing.assert_allclose(gram @ gram.T, expected @ expected.T, atol=1e-4)


def test_near_duplicates_change_little() -> None:
    x, labels = noisy_groups(10, 60)
    jitter = 1e-3 * torch.from_numpy(random_unit_rows(len(x), 12, 5).numpy()).float()
    twice = torch.cat([x, x + jitter])
    once, doubled = whitened(x, 12), whitened(twice, 12)[: len(x)]
    assert same_label(doubled, labels) > same_label(once, labels) - 0.03


@pytest.mark.parametrize(
    "x",
    [torch.ones(9, 4), torch.eye(4)[[0, 0, 0, 1, 1, 1]], torch.eye(2), torch.zeros(3, 5)],
    ids=["equal", "two places", "two rows", "zeros"],
)
def test_equal_rows_give_finite_directions(x: torch.Tensor) -> None:
    mean, directions = neighbour_directions(x, 3, seed=0)
    assert torch.isfinite(mean).all() and torch.isfinite(directions).all()
    assert directions.shape == (3, x.shape[1])


def test_more_directions_extend_fewer_and_are_zero_beyond_the_rank() -> None:
    x, _ = noisy_groups(6, 30)
    _, wide = neighbour_directions(x, 20, seed=0)
    assert (wide[12:] == 0).all() and (wide[:12] != 0).any(1).all()


def test_a_uniform_sample_of_many_rows_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = noisy_groups(8, 500)
    everything = same_label(whitened(x, 12), labels)
    monkeypatch.setattr(whitening, "ROWS", 1600)
    assert same_label(whitened(x, 12), labels) > everything - 0.02


def test_equal_seeds_give_equal_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = noisy_groups(8, 100)
    monkeypatch.setattr(whitening, "ROWS", 300)
    one, other = (neighbour_directions(x, 6, seed=3)[1] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, neighbour_directions(x, 6, seed=4)[1])


def test_untrained_heads_are_the_whitening() -> None:
    x, _ = noisy_groups(6, 50)
    trainer = Trainer(x, TrainingConfig(features=8), "cpu")
    z, c = project(trainer.finish(), x, 64)
    assert torch.equal(z, c)
    torch.testing.assert_close(z.float(), whitened(x, 8), atol=1e-3, rtol=0)
    assert not trainer.heads.has_trunk
    assert sum(parameter.numel() for parameter in trainer.heads.parameters()) == 2 * 8 * 12


def test_trained_heads_start_from_the_whitening() -> None:
    x, _ = noisy_groups(6, 50)
    trainer = Trainer(x, TrainingConfig(features=8, hidden=16, epochs=1, batch=100), "cpu")
    assert trainer.heads.has_trunk
    z, _ = project(trainer.finish(), x, 64)
    torch.testing.assert_close(z.float(), whitened(x, 8), atol=1e-3, rtol=0)


def test_leading_directions_are_those_of_the_largest_variance() -> None:
    rows = torch.from_numpy(random_unit_rows(60, 5, 0).numpy()) * torch.tensor([5, 4, 3, 2, 1.0])
    found = leading_directions(rows, 2)
    assert found.abs().argmax(1).tolist() == [0, 1]


def test_heads_need_a_trunk_or_a_skip() -> None:
    with pytest.raises(AssertionError):
        Heads(d=4, h=0, p=2)
