"""Decides when to stop training and which heads to keep: never worse than the initial ones."""

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from torch import Tensor

from ...store.errors import NumericError
from .distributed import from_first, rank_and_size
from .neighbours import nearest_rows
from .stability import stability
from .training import Trainer, project, settle_batchnorm
from .training_config import TrainingConfig
from .training_rows import TrainingRows

ROWS = 4096
"""Rows that stability is measured on, at most: √ROWS clusters in each half."""
SPLITS = 3
"""Random splits over which stability is averaged."""
MARGIN = 0.05
"""How much more stable clusters must be than initially. A training that made clusters worse gained
0.005 (docs/what-we-learned.md)."""
NEIGHBOURS = 10
LEAST_KEPT = 0.75
"""Share of the initial nearest rows that must still be among the nearest: clusters of collapsed
rows are stable too, but have other neighbours."""


class EarlyStopping:
    """Checks the heads during a training, keeps the best, and ends it when none gets better.

    The first check is before the first step. Later heads only count as better if their clusters are
    more stable than the initial ones by `MARGIN`, and `LEAST_KEPT` of the neighbours are the same.
    From a random start there is nothing to lose: the first check is after the warm-up, and the most
    stable heads are kept.
    """

    def __init__(self, config: TrainingConfig, trainer: Trainer) -> None:
        self._config, self._trainer = config, trainer
        rows = spread_rows(len(trainer.x), ROWS)
        total = trainer.total_steps
        checks = config.checks if total else 0
        self._sample = trainer.x[rows.to(trainer.x.device)] if checks else None
        first = config.warmup_steps if config.start == "random" else 0
        later = {round(i * total / checks) for i in range(1, checks + 1)}
        self._due = sorted({min(first, total), *later} if checks else ())
        self.steps: list[int] = []
        self.stabilities: list[float] = []
        self._kept: int | None = None
        """The number of the check whose heads are kept."""
        self._nearest: Int[ndarray, "r m"] | None = None
        """The nearest rows at the first check."""
        self._best: dict[str, Tensor] = {}

    @property
    def best_stability(self) -> float:
        """The stability of the kept heads; −1 before the first check."""
        return -1.0 if self._kept is None else self.stabilities[self._kept]

    @property
    def kept_step(self) -> int:
        """The number of steps after which the kept heads were checked."""
        return self._trainer.step_number if self._kept is None else self.steps[self._kept]

    @property
    def is_stalled(self) -> bool:
        """Whether the last `patience` checks found nothing better."""
        if self._kept is None or not self._config.patience:
            return False
        return len(self.steps) - 1 - self._kept >= self._config.patience

    @property
    def is_over(self) -> bool:
        """Whether training ends: all steps are taken, or it is stalled."""
        return self._trainer.step_number == self._trainer.total_steps or self.is_stalled

    def is_due(self) -> bool:
        """Whether the heads should be checked now."""
        step = self._trainer.step_number
        return step in self._due and step not in self.steps

    def check(self) -> float:
        """Measures the stability of the current heads, and keeps a copy of the best heads.

        NumericError if a feature is not finite.
        """
        trainer = self._trainer
        assert self._sample is not None
        settle_batchnorm(trainer.heads, self._sample, trainer.batch)
        z, c = project(trainer.heads, self._sample, ROWS)
        rows = torch.cat([z, c], dim=1).float().numpy()
        if not np.isfinite(rows).all():
            raise NumericError(
                f"after training step {trainer.step_number} of {trainer.total_steps} features are "
                "not finite: lower lr or raise eta"
            )
        is_first = rank_and_size()[0] == 0
        value = from_first(stability(rows, self._config.seed, splits=SPLITS) if is_first else 0.0)
        is_better = from_first(float(self._is_better(value, rows)) if is_first else 0.0)
        if is_better:
            self._best = {k: v.detach().clone() for k, v in trainer.heads.state_dict().items()}
            self._kept = len(self.steps)
        self.steps.append(trainer.step_number)
        self.stabilities.append(value)
        return value

    def _is_better(self, value: float, rows: Float32[ndarray, "m q"]) -> bool:
        if self._kept is None:
            self._nearest = nearest_rows(rows, NEIGHBOURS)
            return True
        if value <= self.best_stability or not self._config.has_skip:
            return value > self.best_stability
        assert self._nearest is not None, "the first check stores the neighbours"
        kept = share_kept(self._nearest, nearest_rows(rows, NEIGHBOURS))
        return value >= self.stabilities[0] + MARGIN and kept >= LEAST_KEPT

    def restore(self) -> None:
        """Puts the kept heads into the trainer."""
        if self._best:
            self._trainer.heads.load_state_dict(self._best)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to continue, as tensors."""
        best = {f"best.{k}": v.to("cpu", copy=True) for k, v in self._best.items()}
        checks = torch.tensor([self.steps, self.stabilities], dtype=torch.float64)
        # The key that older checkpoints have.
        state = {**best, "looks": checks}
        if self._kept is not None:
            state["kept_look"] = torch.tensor(self._kept)
        if self._nearest is not None:
            state["nearest"] = torch.from_numpy(self._nearest)
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continues from a `state`."""
        steps, values = state["looks"].tolist()
        self.steps, self.stabilities = [int(step) for step in steps], values
        self._kept = int(state["kept_look"]) if "kept_look" in state else None
        self._nearest = state["nearest"].numpy() if "nearest" in state else None
        prefix = "best."
        self._best = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def spread_rows(n: int, most: int) -> Int[Tensor, " m"]:
    """At most `most` of n row numbers, evenly spaced, ascending; all if there are no more."""
    if n <= most:
        return torch.arange(n)
    # Float32 rounds some n from 2²⁴ on up. It still spaces the rows: trained heads depend on them.
    return torch.linspace(0, n - 1, most).long().clamp(max=n - 1)


def train_to_end(trainer: Trainer, stopping: EarlyStopping) -> None:
    """Trains to the end, with checks; the trainer then has the last heads."""
    while True:
        if stopping.is_due():
            stopping.check()
        if stopping.is_over:
            return
        trainer.step()


def share_kept(before: Int[ndarray, "m n"], after: Int[ndarray, "m n"]) -> float:
    """Share of each row's nearest rows that are still among its nearest, averaged over rows."""
    return float((before[:, :, None] == after[:, None, :]).any(2).mean())


def train(
    x: TrainingRows, config: TrainingConfig, device: torch.device | str
) -> tuple[Trainer, EarlyStopping]:
    """Trains to the end and restores the kept heads.

    Call the trainer's `finish` before its heads project.
    """
    trainer = Trainer(x, config, device)
    stopping = EarlyStopping(config, trainer)
    train_to_end(trainer, stopping)
    stopping.restore()
    return trainer, stopping
