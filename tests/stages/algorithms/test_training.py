from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cpp_pipe.stages.algorithms.heads import Heads
from cpp_pipe.stages.algorithms.training import (
    Trainer,
    build_optimizer,
    project,
    settle_batchnorm,
    train_step,
)
from cpp_pipe.stages.algorithms.training_config import REFERENCE, TrainingConfig
from cpp_pipe.store.errors import ConfigError

from ...strategies import random_unit_rows
from .closeness import relative_error

SMALL: dict[str, Any] = {
    "hidden": 16,
    "features": 4,
    "batch": 16,
    "epochs": 3,
    "eta": 0.175,
    "columns": 0,
    "seed": 5,
}
RECIPES: dict[str, dict[str, Any]] = {
    "principal, adam": {},
    "random, sgd": {"start": "random", "optimizer": "sgd", "warmup_steps": 2, "weight_decay": 0.1},
    "shared heads": {"shared_heads": True},
    "sampled columns": {"columns": 5},
    "reference membership": {"sinkhorn": "reference"},
}


def rows(n: int = 40, d: int = 10) -> torch.Tensor:
    return random_unit_rows(n, d, 1).half()


def trainer(**settings: Any) -> Trainer:
    return Trainer(rows(), TrainingConfig(**(SMALL | settings)), "cpu")


@pytest.mark.parametrize(("run", "warmup_steps"), [("w0", 1), ("w1", 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_three_steps_of_the_reference_recipe_match_golden(
    golden: Callable[[str], dict[str, np.ndarray]],
    run: str,
    warmup_steps: int,
    dtype: torch.dtype,
) -> None:
    g = golden("train_steps")
    sizes: dict[str, Any] = {"hidden": 32, "features": 8, "batch": 48, "warmup_steps": warmup_steps}
    rates: dict[str, Any] = {"lr": float(g["lr"]), "lr_cluster": float(g["lr_c"])}
    config = TrainingConfig(**(REFERENCE | sizes | rates))
    heads = Heads(d=24, h=32, p=8).to(dtype)
    prefix = f"{run}.init."
    initial = {k.removeprefix(prefix): torch.tensor(v) for k, v in g.items() if prefix in k}
    heads.load_state_dict(initial)
    optimizer = build_optimizer(heads, config)
    exact = dtype == torch.float64
    for step, x in enumerate(g[f"{run}.x"]):
        out = train_step(heads, optimizer, torch.tensor(x, dtype=dtype), config, step)
        assert abs(float(out.loss) - g[f"{run}.loss"][step]) < (1e-11 if exact else 1e-5)
        for name, value in heads.state_dict().items():
            theirs = g[f"{run}.after{step + 1}.{name}"]
            assert relative_error(value, theirs) < (1e-11 if exact else 3e-6), (step, name)


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
def test_resuming_gives_the_same_bits_as_never_stopping(settings: dict[str, Any]) -> None:
    whole, first, second = trainer(**settings), trainer(**settings), trainer(**settings)
    assert whole.total_steps == 6
    losses = [whole.step().loss for _ in range(6)]
    for _ in range(3):
        first.step()
    second.load_state(first.state())
    assert second.step_number == 3
    resumed = [second.step().loss for _ in range(3)]
    assert torch.equal(torch.stack(resumed), torch.stack(losses[3:]))
    ours, theirs = second.state(), whole.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_does_not_change_a_saved_or_loaded_state() -> None:
    first = trainer()
    first.step()
    state = first.state()
    kept = {k: v.clone() for k, v in state.items()}
    second = trainer()
    second.load_state(state)
    first.step()
    second.step()
    assert all(torch.equal(state[k], kept[k]) for k in kept)


def test_batches_of_an_epoch_are_disjoint_and_a_short_last_one_is_dropped() -> None:
    run = trainer()
    seen = []
    for _ in range(run.total_steps):
        seen.append(run._rows().tolist())
        run.step()
    assert {len(batch) for batch in seen} == {16}
    for epoch in range(3):
        one, two = seen[2 * epoch : 2 * epoch + 2]
        assert len({*one, *two}) == 32
    assert seen[0] != seen[2]


def test_fewer_rows_than_a_batch_train_on_all_of_them() -> None:
    run = Trainer(rows(5), TrainingConfig(**SMALL), "cpu")
    assert run.total_steps == 3
    assert sorted(run._rows().tolist()) == [0, 1, 2, 3, 4]
    assert torch.isfinite(run.step().loss)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_an_error_that_says_how_many_are_needed(n: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 2 rows of embeddings, got {n}"):
        Trainer(rows(n), TrainingConfig(**SMALL), "cpu")


def test_the_seed_alone_decides_the_training() -> None:
    def losses(seed: int) -> list[float]:
        run = trainer(start="random", seed=seed)
        return [float(run.step().loss) for _ in range(3)]

    torch.manual_seed(0)
    first = losses(1)
    torch.manual_seed(1)
    assert losses(1) == first
    assert losses(2) != first


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
def test_training_lowers_the_loss(settings: dict[str, Any]) -> None:
    run = trainer(**(settings | {"epochs": 20, "lr": 3e-3, "lr_cluster": 3e-3}))
    losses = [float(run.step().loss) for _ in range(run.total_steps)]
    after_warmup = losses[run.config.warmup_steps :]
    assert np.mean(after_warmup[-4:]) < np.mean(after_warmup[:4])


def test_the_end_of_the_warm_up_copies_the_feature_head() -> None:
    run = trainer(start="random", warmup_steps=2)
    run.step()
    x = rows().float()
    assert not torch.equal(*run.heads(x))
    weight = run.heads.get_parameter("cluster.0.weight")
    before = weight.clone()
    run.step()
    assert torch.equal(*run.heads(x))
    assert not torch.equal(weight, before)
    # The cluster head had no gradient, so its momentum starts from zero.
    assert weight not in run.optimizer.state


def test_a_row_s_features_do_not_depend_on_the_rows_beside_it() -> None:
    run = trainer(start="random")
    run.step()
    heads = run.finish()
    x = rows()
    z, c = project(heads, x, 40)
    for batch in (1, 7):
        z_small, c_small = project(heads, x, batch)
        # One unit in the last place of float16 is 2⁻¹¹ of an entry of up to 1.
        torch.testing.assert_close(z_small, z, rtol=0, atol=6e-4)
        torch.testing.assert_close(c_small, c, rtol=0, atol=6e-4)
    alone = project(heads, x[3:4], 5)[0]
    torch.testing.assert_close(alone, z[3:4], rtol=0, atol=6e-4)
    assert z.dtype == c.dtype == torch.float16


def test_projecting_changes_neither_the_mode_nor_the_statistics() -> None:
    heads = trainer().heads.train()
    before = {k: v.clone() for k, v in heads.state_dict().items()}
    assert project(heads, rows(0), 8)[0].shape == (0, 4)
    project(heads, rows(), 8)
    assert heads.training
    assert all(torch.equal(v, before[k]) for k, v in heads.state_dict().items())


@pytest.mark.parametrize("batch", [7, 40])
def test_settled_batchnorm_projects_like_one_batch_of_all_rows(batch: int) -> None:
    run = trainer(start="random")
    for _ in range(6):
        run.step()
    x = rows()
    together = run.heads.train()(x.float())[0].detach()
    running = project(run.heads, x, 40)[0].float()
    settle_batchnorm(run.heads, x, batch)
    settled = project(run.heads, x, 40)[0].float()
    error = (settled - together).abs().max()
    # The batch's variance is over n, the running one over n - 1: a small difference remains.
    assert error < 0.01
    assert error < (running - together).abs().max() / 10
