"""When to stop training, and which heads to keep: those whose clusters are the most stable."""

import numpy as np
import torch
from torch import Tensor

from ...store.errors import NumericError
from .recipe import Recipe
from .rows import Rows
from .stability import stability
from .together import from_first, rank_and_size
from .training import Trainer, project, settle_batchnorm

ROWS = 4096
"""Rows that stability is measured on, at most: √ROWS clusters in each half."""
SPLITS = 3
"""Random halves whose stability is averaged."""


class Watch:
    """Looks at a training now and then, keeps the best heads, and says when there is no hope.

    The first look is before the first step, so heads that training made worse are never kept.
    """

    def __init__(self, recipe: Recipe, trainer: Trainer) -> None:
        self._recipe, self._trainer = recipe, trainer
        n = len(trainer.x)
        rows = torch.arange(n) if n <= ROWS else torch.linspace(0, n - 1, ROWS).long()
        self._sample = trainer.x[rows.to(trainer.x.device)] if recipe.checks else None
        total = trainer.total_steps
        first = recipe.warmup_steps if recipe.start == "random" else 0
        looks = {round(i * total / recipe.checks) for i in range(1, recipe.checks + 1)}
        self._due = sorted({min(first, total), *looks} if recipe.checks else ())
        self.steps: list[int] = []
        self.stabilities: list[float] = []
        self._best: dict[str, Tensor] = {}

    @property
    def best(self) -> float:
        """The highest stability so far; −1 before the first look."""
        return max(self.stabilities, default=-1.0)

    @property
    def kept_step(self) -> int:
        """The step after which the kept heads stood."""
        if not self.steps:
            return self._trainer.step_number
        return self.steps[self.stabilities.index(self.best)]

    @property
    def is_hopeless(self) -> bool:
        """Whether the last `patience` looks found nothing better."""
        if not self.steps or not self._recipe.patience:
            return False
        since = len(self.steps) - 1 - self.stabilities.index(self.best)
        return since >= self._recipe.patience

    @property
    def is_over(self) -> bool:
        """Whether training ends here: all steps are taken, or there is no hope."""
        return self._trainer.step_number == self._trainer.total_steps or self.is_hopeless

    def is_due(self) -> bool:
        """Whether the heads are to be looked at now."""
        step = self._trainer.step_number
        return step in self._due and step not in self.steps

    def look(self) -> float:
        """Measures the heads as they are, and keeps a copy where they are the best so far.

        NumericError where a feature is not finite.
        """
        trainer = self._trainer
        assert self._sample is not None
        settle_batchnorm(trainer.heads, self._sample, trainer.batch)
        z, c = project(trainer.heads, self._sample, ROWS)
        rows = torch.cat([z, c], dim=1).float().numpy()
        if not np.isfinite(rows).all():
            raise NumericError(
                f"after training step {trainer.step_number} of {trainer.total_steps} features are "
                "not finite: take a lower lr or a higher eta"
            )
        is_first = rank_and_size()[0] == 0
        found = from_first(stability(rows, self._recipe.seed, splits=SPLITS) if is_first else 0.0)
        if found > self.best:
            self._best = {k: v.detach().clone() for k, v in trainer.heads.state_dict().items()}
        self.steps.append(trainer.step_number)
        self.stabilities.append(found)
        return found

    def restore(self) -> None:
        """Puts the kept heads into the trainer."""
        if self._best:
            self._trainer.heads.load_state_dict(self._best)

    def state(self) -> dict[str, Tensor]:
        """All that continuing needs."""
        best = {f"best.{k}": v.to("cpu", copy=True) for k, v in self._best.items()}
        looks = torch.tensor([self.steps, self.stabilities], dtype=torch.float64)
        return {**best, "looks": looks}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continues where `state` was taken."""
        steps, values = state["looks"].tolist()
        self.steps, self.stabilities = [int(step) for step in steps], values
        prefix = "best."
        self._best = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def train_watched(trainer: Trainer, watch: Watch) -> None:
    """Steps and looks to the end; the trainer is left with the last heads."""
    while True:
        if watch.is_due():
            watch.look()
        if watch.is_over:
            return
        trainer.step()


def train_trials(x: Rows, recipe: Recipe, device: torch.device | str) -> tuple[Trainer, Watch]:
    """The training, of all trials of a recipe, whose clusters were the most stable; heads are kept.

    Every trial is trained to its end. Call `finish` of the trainer before its heads project.
    """
    best: tuple[Trainer, Watch] | None = None
    for trial in recipe.trials:
        trainer = Trainer(x, trial, device)
        watch = Watch(trial, trainer)
        train_watched(trainer, watch)
        if best is None or watch.best > best[1].best:
            best = trainer, watch
    assert best is not None, "a recipe has a trial"
    best[1].restore()
    return best
