from typing import Any

import pytest

from cpp_pipe.stages.algorithms.training_config import REFERENCE, TrainingConfig
from cpp_pipe.store.errors import ConfigError


@pytest.mark.parametrize(
    "setting",
    [
        {"hidden": 0},
        {"features": 1.5},
        {"epochs": True},
        {"epochs": -1},
        {"batch": 1},
        {"warmup_steps": -1},
        {"columns": -3},
        {"lr": 0.0},
        {"eta": float("nan")},
        {"eps_sq": float("inf")},
        {"pi_reg": -0.1},
        {"momentum": -1.0},
        {"optimizer": "adamw"},
        {"start": "pca"},
        {"sinkhorn": "exactly"},
    ],
)
def test_an_invalid_setting_is_named_with_its_value(
    setting: dict[str, Any],
) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(ConfigError, match=f"^{name} must be .*, got {value!r}$"):
        TrainingConfig(**setting)


def test_the_reference_recipe_is_the_paper_s() -> None:
    recipe = TrainingConfig(**REFERENCE)
    assert (recipe.optimizer, recipe.momentum, recipe.lr) == ("sgd", 0.9, 1e-4)
    assert (recipe.weight_decay, recipe.weight_decay_cluster) == (1e-4, 5e-3)
    assert (recipe.batch, recipe.start, recipe.warmup_steps) == (1024, "random", 51)
    assert recipe.objective.sinkhorn == "reference"
    assert recipe.objective.half_iterations == 5


def test_the_objective_has_the_config_s_settings() -> None:
    objective = TrainingConfig(eta=0.3, gamma=0.5, pi_reg=0.2, eps_sq=0.4, columns=7).objective
    assert (objective.eta, objective.gamma, objective.pi_reg) == (0.3, 0.5, 0.2)
    assert (objective.eps_sq, objective.columns) == (0.4, 7)
