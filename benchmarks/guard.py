"""Whether trained heads are ever kept that cluster worse than their start does.

    python -m benchmarks.guard                          # three sets in ../shared, 5 seeds
    python -m benchmarks.guard --seeds 1 my.npz         # any .npz of x, y
    python -m benchmarks.guard --hidden 512 --set batch=512

Each set is trained by settings that are known to harm clusters, from the default start. ACC is at
the true k, of clusters of the heads that training ends with (`last`), of those that are kept, and
of the start; only ACC uses labels. The bar: the mean of kept over seeds is at most 0.005 below
that of the start.
"""

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

from .measure import argument_parser, machine, parse_arguments
from .ours import SETS, TINY, load, parse_settings

HARMFUL: dict[str, dict[str, Any]] = {
    "high lr": {"lr": 1e-3, "lr_cluster": 1e-3, "epochs": 12},
    "low eta": {"eta": 0.1, "epochs": 12},
    "large gamma": {"gamma": 2.0, "epochs": 12},
}
STARTS = 3
"""Seeds of k-means; ACC is their mean."""
_ROWS = 4096


class Row(NamedTuple):
    """ACC of three pairs of heads, and the step of the kept pair."""

    start: float
    last: float
    kept: float
    step: int


def _acc(trainer: Trainer, y: np.ndarray) -> float:
    z, c = project(trainer.finish(), trainer.x, _ROWS)
    points = clustering_rows(z.float().numpy(), c.float().numpy())
    k = int(y.max()) + 1
    accuracies = [
        accuracy(y, nearest(points, breathing_kmeans(points, k, seed))) for seed in range(STARTS)
    ]
    return float(np.mean(accuracies))


def train_and_keep(x: np.ndarray, y: np.ndarray, recipe: TrainingConfig) -> Row:
    """Trains to the end, or until early stopping ends the training."""
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
    parser = argument_parser(__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=SETS, help=".npz files of x and y")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--hidden", type=int, help="width of the heads' trunk")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of training"
    )
    tiny = {"paths": [TINY], "seeds": 1, "hidden": 32, "set": ["epochs=2"]}
    arguments = parse_arguments(parser, **tiny)
    overrides = parse_settings(arguments.set)
    if arguments.hidden is not None:
        overrides["hidden"] = arguments.hidden
    print(f"trainings that harm, {arguments.seeds} seed(s)\n{machine()}")
    if overrides:
        print(f"with {overrides}: not the default settings")
    print(f"{'set':<14}{'training':<14}{'start':>8}{'last':>8}{'kept':>8}  kept steps")
    table: dict[str, Any] = {}
    for path in arguments.paths:
        x, y = load(path)
        for name, settings in HARMFUL.items():
            rows = [
                train_and_keep(x, y, TrainingConfig(**{**settings, **overrides, "seed": seed}))
                for seed in range(arguments.seeds)
            ]
            start, last, kept = np.mean([row[:3] for row in rows], axis=0).tolist()
            steps = [row.step for row in rows]
            print(
                f"{path.stem:<14}{name:<14}{start:>8.3f}{last:>8.3f}{kept:>8.3f}  {steps}",
                flush=True,
            )
            table[f"{path.stem}, {name}"] = {
                "start": round(start, 4),
                "last": round(last, 4),
                "kept": round(kept, 4),
                "steps": steps,
            }
    table["worst"] = round(min(row["kept"] - row["start"] for row in table.values()), 4)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
