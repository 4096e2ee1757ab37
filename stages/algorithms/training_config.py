"""Every setting of the training of CPP's heads."""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ...store.errors import ConfigError

if TYPE_CHECKING:
    from .objective import Objective

WHOLE_AND_POSITIVE = ("hidden", "features", "half_iterations")
WHOLE = ("epochs", "warmup_steps", "columns", "checks", "patience", "seed")
POSITIVE = ("lr", "lr_cluster", "eta", "eps_sq")
NOT_NEGATIVE = ("weight_decay", "weight_decay_cluster", "momentum", "gamma", "pi_reg")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How heads are trained. By default they stay where they start, whitened by near neighbours.

    `REFERENCE` holds what to change for the paper's own recipe.
    """

    hidden: int = 2048
    """h, the width of the trunk, which heads that are not trained do not have."""
    features: int = 128
    """p, the feature size."""
    batch: int = 1024
    """Rows a step; sets with fewer rows train on all of them at each step."""
    epochs: int = 0
    """0 keeps the heads as they start: on real embeddings no training that was tried made clusters
    better on every set (docs/what-we-learned.md)."""
    warmup_steps: int = 0
    """Steps that maximise the rate alone. After the last, the cluster head becomes a copy of the
    feature head. The reference's setting W runs W + 1 such steps."""
    lr: float = 1e-4
    lr_cluster: float = 1e-4
    weight_decay: float = 0.0
    """Of all but the cluster head, biases and BatchNorm included, as in the reference."""
    weight_decay_cluster: float = 0.0
    momentum: float = 0.9
    """Of SGD, without Nesterov; Adam ignores it."""
    optimizer: Literal["sgd", "adam"] = "adam"
    start: Literal["random", "principal", "neighbours"] = "neighbours"
    """Where the heads begin. All but `random` give both heads a linear skip: `neighbours` starts it
    at the whitening by near neighbours, `principal` at the principal directions."""
    shared_heads: bool = False
    """The features serve as cluster features too, as in the paper's ImageNet recipe."""
    eta: float = 0.175
    """Temperature of the membership."""
    gamma: float = 1.0
    pi_reg: float = 0.05
    eps_sq: float = 0.1
    sinkhorn: Literal["reference", "exact"] = "exact"
    half_iterations: int = 5
    columns: int = 128
    """Columns of the membership that a step's conditional rate is estimated from; 0 takes all."""
    checks: int = 12
    """How often the stability of clusters is looked at, in equal steps after the start. Heads that
    are clearly more stable than the start, and keep its neighbours, are kept; else the start. 0
    keeps the last heads unseen."""
    patience: int = 4
    """Training ends when so many looks one after another found nothing more stable; 0 never."""
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            if get_origin(field.type) is Literal:
                allowed = get_args(field.type)
                self._require(field.name, getattr(self, field.name) in allowed, f"one of {allowed}")
        for names, least in ((WHOLE_AND_POSITIVE, 1), (WHOLE, 0), (("batch",), 2)):
            for name in names:
                value = getattr(self, name)
                is_whole = isinstance(value, int) and not isinstance(value, bool)
                self._require(name, is_whole and value >= least, f"a whole number from {least}")
        for name in POSITIVE:
            self._require(name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        for name in NOT_NEGATIVE:
            self._require(name, 0 <= getattr(self, name) < math.inf, "a finite number from 0")

    @property
    def has_skip(self) -> bool:
        """Whether the heads add a linear map of the embedding, where they begin."""
        return self.start != "random"

    @property
    def width(self) -> int:
        """Of the heads' trunk; 0 where heads are linear, because they stay where they start."""
        return 0 if self.has_skip and self.epochs == 0 else self.hidden

    @property
    def objective(self) -> "Objective":
        """The settings of the loss."""
        # Imported here, so that the command line can read settings without torch.
        from .objective import Objective

        return Objective(**{field.name: getattr(self, field.name) for field in fields(Objective)})

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise ConfigError(f"{name} is {getattr(self, name)!r}; allowed: {allowed}")


REFERENCE: dict[str, Any] = {
    "hidden": 4096,
    "batch": 1024,
    "epochs": 15,
    "warmup_steps": 51,
    "lr": 1e-4,
    "lr_cluster": 1e-4,
    "weight_decay": 1e-4,
    "weight_decay_cluster": 5e-3,
    "momentum": 0.9,
    "optimizer": "sgd",
    "start": "random",
    "sinkhorn": "reference",
    "half_iterations": 5,
    "columns": 0,
    "checks": 0,
    "gamma": 1.0,
    "pi_reg": 0.05,
    "eta": 0.175,
}
"""Overrides for the recipe of the paper's public code on CIFAR-10 (its warm-up of 50 runs 51)."""
