"""The settings of the training of CPP's heads."""

import reprlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ...store.errors import ConfigError

if TYPE_CHECKING:
    from .objective import Objective

WHOLE_AND_POSITIVE = ("hidden", "features", "half_iterations")
WHOLE = ("epochs", "warmup_steps", "columns", "checks", "patience", "seed")
MOST = 2**32 - 1
"""The largest whole number of any setting, and the largest seed of NumPy."""
MOST_REAL = 3e38
"""The largest other number: float32 holds a little more."""
LEAST_REAL = 1.2e-38
"""The smallest number above 0: float32 holds smaller ones with fewer digits, or as 0."""
LEAST_TEMPERATURE = 1e-6
"""Over a lower temperature, similarities are so large that float32 rounds away how they differ."""
LARGEST = 1e6
"""The largest temperature, weight or learning rate; sensible ones are below 100."""
POSITIVE = ("lr", "lr_cluster")
NOT_NEGATIVE = ("weight_decay", "weight_decay_cluster", "momentum", "gamma", "pi_reg")


def least_distortion(p: int) -> float:
    """The smallest squared distortion ε² of rows of length one with p features.

    The rate is ln det(I + p/(m ε²) ZᵀZ), whose matrix has eigenvalues from 1 to 1 + p/ε². Where
    p/ε² is 10⁷ or more, float32 rounds the 1 away, and the matrix is singular.
    """
    return p / 1e7


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How heads are trained. By default they keep their initial whitening by near neighbours.

    `REFERENCE` holds the overrides for the paper's own recipe.
    """

    hidden: int = 2048
    """h, the width of the trunk; heads that are not trained have none."""
    features: int = 128
    """p, the feature size."""
    batch: int = 1024
    """Rows per step; smaller sets train on all rows at each step."""
    epochs: int = 0
    """0 keeps the initial heads: on real embeddings, no training that was tried improved clusters
    on every set (docs/what-we-learned.md)."""
    warmup_steps: int = 0
    """Steps that only maximise the rate. After the last, the cluster head becomes a copy of the
    feature head. The reference's setting W runs W + 1 such steps."""
    lr: float = 1e-4
    """Learning rate of the trunk and the feature head."""
    lr_cluster: float = 1e-4
    """Learning rate of the cluster head."""
    weight_decay: float = 0.0
    """For all parameters but the cluster head's, including biases and BatchNorm, as in the
    reference."""
    weight_decay_cluster: float = 0.0
    """For the cluster head."""
    momentum: float = 0.9
    """For SGD, without Nesterov; Adam ignores it."""
    optimizer: Literal["sgd", "adam"] = "adam"
    start: Literal["random", "principal", "neighbours"] = "neighbours"
    """The initial heads. All but `random` give both heads a linear skip: with `neighbours` it
    starts as the whitening by near neighbours, with `principal` as the principal directions."""
    shared_heads: bool = False
    """Whether the features are the cluster features too, as in the paper's ImageNet recipe."""
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
    """How often the stability of clusters is checked, evenly over the steps and once at the start.
    Heads whose clusters are clearly more stable than the initial ones', and that keep most
    neighbours, are kept; else the initial heads. 0 keeps the last heads unchecked."""
    patience: int = 4
    """Checks without improvement after which training ends; 0 never ends it early."""
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            if get_origin(field.type) is Literal:
                allowed = get_args(field.type)
                names = " or ".join(map(repr, allowed))
                self._require(field.name, getattr(self, field.name) in allowed, names)
        for names, least in ((WHOLE_AND_POSITIVE, 1), (WHOLE, 0), (("batch",), 2)):
            for name in names:
                value = getattr(self, name)
                is_whole = isinstance(value, int) and not isinstance(value, bool)
                required = f"a whole number from {least} to {MOST}"
                self._require(name, is_whole and least <= value <= MOST, required)
        least_of = {
            **dict.fromkeys(POSITIVE, LEAST_REAL),
            **dict.fromkeys(NOT_NEGATIVE, 0),
            "eta": LEAST_TEMPERATURE,
            "eps_sq": least_distortion(self.features),
        }
        for name, least in least_of.items():
            value = getattr(self, name)
            is_allowed = isinstance(value, int | float) and least <= value <= LARGEST
            beside = f" ({self.features} features / 1e7)" if name == "eps_sq" else ""
            self._require(name, is_allowed, f"a number from {least:g}{beside} to {LARGEST:g}")

    @property
    def has_skip(self) -> bool:
        """Whether the heads add a linear map of the embedding, which is then their start."""
        return self.start != "random"

    @property
    def width(self) -> int:
        """Width of the heads' trunk; 0 for linear heads, which are not trained."""
        return 0 if self.has_skip and self.epochs == 0 else self.hidden

    @property
    def objective(self) -> "Objective":
        """The settings of the loss."""
        # Imported here, so that the command line can read settings without torch.
        from .objective import Objective

        return Objective(**{field.name: getattr(self, field.name) for field in fields(Objective)})

    def _require(self, name: str, is_allowed: bool, required: str) -> None:
        if not is_allowed:
            value = reprlib.repr(getattr(self, name))
            raise ConfigError(f"{name} must be {required}, got {value}")


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
