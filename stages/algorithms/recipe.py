"""Every setting of the training of CPP's heads."""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ...store.errors import ConfigError

if TYPE_CHECKING:
    from .objective import Objective

WHOLE_AND_POSITIVE = ("hidden", "features", "epochs", "half_iterations")
WHOLE = ("warmup_steps", "columns", "checks", "patience", "seed")
POSITIVE = ("lr", "lr_cluster", "eps_sq")
ETAS = (0.1, 0.175)
"""Temperatures that `auto` tries: of the paper's, the lowest and the highest."""

NOT_NEGATIVE = ("weight_decay", "weight_decay_cluster", "momentum", "gamma", "pi_reg")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How heads are trained. The defaults start at the embedding's principal directions.

    `REFERENCE` holds what to change for the paper's own recipe.
    """

    hidden: int = 2048
    """h, the width of the trunk."""
    features: int = 128
    """p, the feature size."""
    batch: int = 1024
    """Rows a step; sets with fewer rows train on all of them at each step."""
    epochs: int = 12
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
    start: Literal["random", "principal"] = "principal"
    """`principal`: both heads get a linear skip that starts as the principal projection."""
    shared_heads: bool = False
    """The features serve as cluster features too, as in the paper's ImageNet recipe."""
    eta: float | Literal["auto"] = "auto"
    """Temperature of the membership; `auto` trains once at each of `ETAS` and keeps the heads whose
    clusters are the most stable."""
    gamma: float = 1.0
    pi_reg: float = 0.05
    eps_sq: float = 0.1
    sinkhorn: Literal["reference", "exact"] = "exact"
    half_iterations: int = 5
    columns: int = 128
    """Columns of the membership that a step's conditional rate is estimated from; 0 takes all."""
    checks: int = 12
    """How often the stability of clusters is looked at, in equal steps after the start; the heads
    that were the most stable are kept, the starting ones too. 0 keeps the last heads unseen."""
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
        etas = 0 if self.eta == "auto" else self.eta
        self._require("eta", self.eta == "auto" or 0 < etas < math.inf, "auto or a number above 0")
        if self.eta == "auto":
            self._require("checks", self.checks > 0, "a whole number from 1 where eta is auto")
        for name in NOT_NEGATIVE:
            self._require(name, 0 <= getattr(self, name) < math.inf, "a finite number from 0")

    @property
    def trials(self) -> "tuple[Recipe, ...]":
        """The recipes that are tried, each with its temperature."""
        etas = ETAS if self.eta == "auto" else (self.eta,)
        settings = {one.name: getattr(self, one.name) for one in fields(Recipe)}
        return tuple(Recipe(**{**settings, "eta": eta}) for eta in etas)

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
