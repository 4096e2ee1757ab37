"""Heads of a training that makes clusters worse are not kept."""

import numpy as np

from benchmarks.guard import train_and_keep
from cpp_pipe.stages.algorithms.training_config import TrainingConfig

from ..strategies import random_unit_rows


def test_heads_that_cluster_worse_than_the_initial_ones_are_not_kept() -> None:
    labels = np.arange(180) % 9
    noise = 1.2 * random_unit_rows(180, 16, 0).numpy()
    x = (np.eye(9, 16)[labels] + noise).astype(np.float32)
    recipe = TrainingConfig(hidden=32, features=12, batch=60, epochs=10, lr=0.03)
    row = train_and_keep(x, labels, recipe)
    assert row.last < row.start
    assert row.kept >= row.start - 0.005
