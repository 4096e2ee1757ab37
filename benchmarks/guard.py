"""Whether trained heads are ever kept that cluster worse than their start does.

    python -m benchmarks.guard                      # three sets in ../shared, 5 seeds
    python -m benchmarks.guard --seeds 1 my.npz     # any .npz of x, y

Each set is trained by settings that are known to harm clusters, from the default start. ACC is at
the true k, of clusters of the heads that training ends with (`last`), of those that are kept, and
of the start; labels serve it alone. The bar: kept is never below the start by more than 0.005, as
a mean over seeds.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from cpp_pipe.stages.algorithms.clustering.kmeans import breathing_kmeans, nearest
from cpp_pipe.stages.algorithms.clustering.landmarks import clustering_rows
from cpp_pipe.stages.algorithms.early_stopping import EarlyStopping, train_to_end
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.algorithms.training import Trainer, project
from cpp_pipe.stages.algorithms.training_config import TrainingConfig

from .measure import machine
from .ours import SETS, load

HARMFUL: dict[str, dict[str, Any]] = {
    "high lr": {"lr": 1e-3, "lr_cluster": 1e-3, "epochs": 12},
    "low eta": {"eta": 0.1, "epochs": 12},
    "large gamma": {"gamma": 2.0, "epochs": 12},
}
STARTS = 3
"""Of k-means, whose mean ACC is taken."""
_ROWS = 4096


class Row(NamedTuple):
    """ACC of three pairs of heads, and the step of those that were kept."""

    start: float
    last: float
    kept: float
    step: int


def _acc(trainer: Trainer, y: np.ndarray) -> float:
    z, c = project(trainer.finish(), trainer.x, _ROWS)
    points = clustering_rows(z.float().numpy(), c.float().numpy())
    k = int(y.max()) + 1
    found = [
        accuracy(y, nearest(points, breathing_kmeans(points, k, one))) for one in range(STARTS)
    ]
    return float(np.mean(found))


def train_and_keep(x: np.ndarray, y: np.ndarray, recipe: TrainingConfig) -> Row:
    """One training to its end, or to where it sees no hope."""
    trainer = Trainer(torch.from_numpy(x), recipe, "cpu")
    stopping = EarlyStopping(recipe, trainer)
    start = _acc(trainer, y)
    train_to_end(trainer, stopping)
    last = _acc(trainer, y)
    stopping.restore()
    kept = _acc(trainer, y) if stopping.kept_step else start
    return Row(start, last, kept, stopping.kept_step)


def main() -> None:
    """Prints a row for each set and setting, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("paths", nargs="*", type=Path, help=".npz files of x and y")
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    print(f"trainings that harm, {asked.seeds} seed(s)\n{machine()}")
    print(f"{'set':<14}{'training':<14}{'start':>8}{'last':>8}{'kept':>8}  kept steps")
    line: dict[str, Any] = {}
    for path in asked.paths or SETS:
        x, y = load(path)
        for name, settings in HARMFUL.items():
            rows = [
                train_and_keep(x, y, TrainingConfig(seed=one, **settings))
                for one in range(asked.seeds)
            ]
            start, last, kept = (float(one) for one in np.mean([row[:3] for row in rows], axis=0))
            steps = [row.step for row in rows]
            print(
                f"{path.stem:<14}{name:<14}{start:>8.3f}{last:>8.3f}{kept:>8.3f}  {steps}",
                flush=True,
            )
            line[f"{path.stem}, {name}"] = {
                "start": round(start, 4),
                "last": round(last, 4),
                "kept": round(kept, 4),
                "steps": steps,
            }
    line["worst"] = round(min(one["kept"] - one["start"] for one in line.values()), 4)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
