from typing import Any

import numpy as np
import pytest
import torch

from cpp_pipe.stages.algorithms.early_stopping import (
    LEAST_KEPT,
    MARGIN,
    NEIGHBOURS,
    EarlyStopping,
    share_kept,
    spread_rows,
    train_to_end,
)
from cpp_pipe.stages.algorithms.neighbours import nearest_rows
from cpp_pipe.stages.algorithms.stability import stability
from cpp_pipe.stages.algorithms.training import Trainer, project
from cpp_pipe.stages.algorithms.training_config import TrainingConfig

from ...strategies import random_unit_rows

SMALL: dict[str, Any] = {"hidden": 16, "features": 6, "batch": 30, "eta": 0.175, "seed": 1}


def clusters(k: int, each: int, spread: float) -> np.ndarray:
    rows = np.eye(k, 12)[np.arange(k * each) % k]
    return (rows + spread * random_unit_rows(k * each, 12, 0).numpy()).astype(np.float32)


def begin(**settings: Any) -> tuple[Trainer, EarlyStopping]:
    config = TrainingConfig(**(SMALL | settings))
    trainer = Trainer(torch.from_numpy(clusters(5, 24, 0.9)), config, "cpu")
    return trainer, EarlyStopping(config, trainer)


def test_clear_clusters_are_more_stable_than_noise() -> None:
    clear, noise = clusters(11, 11, 0.2), random_unit_rows(121, 12, 3).float().numpy()
    assert stability(clear, 0) > 0.7
    assert stability(noise, 0) < 0.4
    assert stability(clear, 0) == stability(clear, 0)


def test_few_or_equal_rows_have_a_stability() -> None:
    assert stability(np.ones((7, 2), np.float32), 0) == 0.0
    assert stability(np.ones((9, 2), np.float32), 0) < 0.5


@pytest.mark.parametrize("n", [1, 7, 8, 4097, 2**24 + 4, 10**9 + 7])
def test_checked_rows_are_spread_over_all_rows_and_exist(n: int) -> None:
    """Float32 rounded the last of 2²⁴ + 4 rows up to one that does not exist."""
    rows = spread_rows(n, 8).tolist()
    assert len(rows) == len(set(rows)) == min(n, 8) and rows == sorted(rows)
    assert rows[0] == 0 and n - 1 - n * 1e-7 <= rows[-1] < n


def test_from_a_random_start_the_most_stable_heads_are_kept() -> None:
    trainer, stopping = begin(
        start="random", epochs=6, checks=6, patience=0, lr=0.05, lr_cluster=0.05
    )
    train_to_end(trainer, stopping)
    assert stopping.steps == [0, 4, 8, 12, 16, 20, 24]
    best = stopping.stabilities.index(max(stopping.stabilities))
    assert stopping.kept_step == stopping.steps[best]
    stopping.restore()
    again = EarlyStopping(stopping._config, trainer)
    assert again.check() == pytest.approx(max(stopping.stabilities))


def test_a_harmful_training_keeps_the_initial_heads() -> None:
    settings: dict[str, Any] = {"lr": 30.0, "lr_cluster": 30.0, "optimizer": "sgd"}
    config = TrainingConfig(**(SMALL | settings), epochs=40, checks=20, patience=3)
    trainer = Trainer(torch.from_numpy(clusters(11, 11, 0.2)), config, "cpu")
    stopping = EarlyStopping(config, trainer)
    start = {k: v.clone() for k, v in trainer.heads.state_dict().items() if "skip" in k}
    train_to_end(trainer, stopping)
    assert stopping.kept_step == 0
    assert trainer.step_number < trainer.total_steps
    stopping.restore()
    kept = trainer.heads.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in start.items())


@pytest.mark.parametrize("harm", [{"lr": 0.1, "lr_cluster": 0.1}, {"eta": 0.01}, {"gamma": 5.0}])
def test_kept_heads_are_clearly_more_stable_and_keep_neighbours(
    harm: dict[str, Any],
) -> None:
    trainer, stopping = begin(**{"epochs": 8, "checks": 8, "patience": 0} | harm)
    start = features(trainer)
    train_to_end(trainer, stopping)
    stopping.restore()
    assert stopping.steps[0] == 0
    if stopping.kept_step:
        assert stopping.best_stability >= stopping.stabilities[0] + MARGIN
        assert (
            share_kept(nearest_rows(start, NEIGHBOURS), nearest_rows(features(trainer), NEIGHBOURS))
            >= LEAST_KEPT
        )
    else:
        np.testing.assert_array_equal(features(trainer), start)


def features(trainer: Trainer) -> np.ndarray:
    z, c = project(trainer.heads, trainer.x, 64)
    return torch.cat([z, c], dim=1).float().numpy()


def test_neighbours_are_kept_by_a_rotation_and_lost_by_chance() -> None:
    rows = random_unit_rows(200, 12, 0).float().numpy()
    other = random_unit_rows(200, 12, 1).float().numpy()
    turned = rows @ np.linalg.qr(other[:12].T)[0].astype(np.float32)
    assert share_kept(nearest_rows(rows, NEIGHBOURS), nearest_rows(turned, NEIGHBOURS)) > 0.99
    assert share_kept(nearest_rows(rows, NEIGHBOURS), nearest_rows(other, NEIGHBOURS)) < 0.2


def test_heads_without_epochs_are_never_checked() -> None:
    trainer, stopping = begin(epochs=0)
    train_to_end(trainer, stopping)
    assert stopping.steps == [] and stopping.kept_step == 0


def test_collapsed_rows_are_not_stable() -> None:
    rows = np.eye(2, dtype=np.float32)[np.arange(200) % 2]
    rows = rows + 1e-4 * random_unit_rows(200, 2, 0).float().numpy()
    assert stability(rows, 0) < stability(clusters(14, 14, 0.2), 0)


def test_early_stopping_resumes() -> None:
    trainer, stopping = begin(epochs=6, checks=6, patience=0, lr=0.05)
    first, first_stopping = begin(epochs=6, checks=6, patience=0, lr=0.05)
    train_to_end(trainer, stopping)
    while first.step_number < 10:
        if first_stopping.is_due():
            first_stopping.check()
        first.step()
    second, second_stopping = begin(epochs=6, checks=6, patience=0, lr=0.05)
    second.load_state(first.state())
    second_stopping.load_state(first_stopping.state())
    train_to_end(second, second_stopping)
    assert second_stopping.stabilities == stopping.stabilities
    second_stopping.restore()
    stopping.restore()
    ours, theirs = second.heads.state_dict(), trainer.heads.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_without_checks_the_last_heads_are_kept() -> None:
    trainer, stopping = begin(epochs=2, checks=0)
    train_to_end(trainer, stopping)
    assert stopping.steps == []
    assert stopping.kept_step == trainer.total_steps == 8
