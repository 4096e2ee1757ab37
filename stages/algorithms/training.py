"""Training of CPP's heads (arXiv 2306.05272) on frozen embeddings: steps, state and projection."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...store.errors import ConfigError
from .clustering.sampling import choose_rows
from .distributed import gather_batch, rank_and_size, sum_gradients, sum_over
from .heads import Heads, principal_directions
from .objective import Terms, terms
from .training_config import TrainingConfig
from .training_rows import TrainingRows
from .views import Directions, View, view_directions
from .whitening import ROWS, neighbour_directions

WEIGHTS, ORDER, COLUMNS = range(3)
"""Purposes of a seed's independent random streams."""


def build_optimizer(heads: Heads, config: TrainingConfig) -> torch.optim.Optimizer:
    """One optimiser with two groups; the second is the cluster head, if there is one.

    The reference has two optimisers, which is equivalent.
    """
    cluster = heads.cluster_parameters()
    rest = [v for k, v in heads.named_parameters() if k not in cluster]
    groups = [
        {"params": rest, "lr": config.lr, "weight_decay": config.weight_decay},
        {
            "params": list(cluster.values()),
            "lr": config.lr_cluster,
            "weight_decay": config.weight_decay_cluster,
        },
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum)
    return torch.optim.Adam(groups)


def train_step(
    heads: Heads,
    optimizer: torch.optim.Optimizer,
    batch: Float[Tensor, "n d"],
    config: TrainingConfig,
    number: int,
    *,
    generator: torch.Generator | None = None,
) -> Terms:
    """Takes step `number`, from 0, on one batch; returns detached terms on the batch's device.

    During the warm-up the cluster head has no gradient, so its momentum starts from zero. After the
    last warm-up step it becomes a copy of the feature head. With several processes, `batch` is this
    process' share of the rows, and the loss is that of all rows.
    """
    heads.train()
    z, c = heads(batch)
    whole_z = gather_batch(z)
    whole_c = whole_z if c is z else gather_batch(c)
    warmup, share = number < config.warmup_steps, rank_and_size()
    out = terms(whole_z, whole_c, config.objective, warmup=warmup, generator=generator, share=share)
    optimizer.zero_grad(set_to_none=True)
    out.loss.backward()
    sum_gradients(heads)
    optimizer.step()
    if number + 1 == config.warmup_steps:
        heads.copy_feature_head_to_cluster_head()
    rate, conditional, regulariser, loss = (term.detach() for term in out)
    return Terms(rate, sum_over(conditional), regulariser, sum_over(loss))


@torch.no_grad()
def settle_batchnorm(heads: Heads, x: TrainingRows, batch: int) -> None:
    """Sets BatchNorm's running statistics to those of all rows, computed in blocks of `batch`.

    After a short training they would still be near their initial values: the initial variance of 1
    is some thousand times that of a projected unit row, and outweighs it even after 50 steps.
    """
    if not heads.has_trunk:
        return
    norm = cast(nn.BatchNorm1d, heads.pre_feature[1])
    total = torch.zeros_like(norm.get_buffer("running_mean"), dtype=torch.float64)
    squares = torch.zeros_like(total)
    for rows in _blocks(len(x), batch):
        before = heads.before_batchnorm(x[rows].to(total.device, norm.weight.dtype)).double()
        total += before.sum(0)
        squares += before.square().sum(0)
    mean = total / len(x)
    variance = (squares - len(x) * mean.square()) / max(1, len(x) - 1)
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(variance.clamp_min(0))


@torch.no_grad()
def project(
    heads: Heads, x: TrainingRows, batch: int
) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
    """Features and cluster features of all rows, float16 on the CPU, `batch` rows at a time.

    BatchNorm uses its running statistics, so a row's features do not depend on other rows. The
    reference never leaves training mode, where they do.
    """
    was_training = heads.training
    heads.eval()
    weight = heads.weight
    z = torch.empty(len(x), weight.shape[0], dtype=torch.float16)
    c = z if heads.shared_heads else torch.empty_like(z)
    for rows in _blocks(len(x), batch):
        z_part, c_part = heads(x[rows].to(weight.device, weight.dtype))
        z[rows] = z_part.to("cpu", torch.float16)
        if c is not z:
            c[rows] = c_part.to("cpu", torch.float16)
    heads.train(was_training)
    return z, c


class Trainer:
    """Trains heads on the rows of `x`, which stay on their device; batches are moved to `device`.

    The rows of a batch and the sampled columns only depend on the seed and the step number. A short
    last batch is dropped. With several processes, each takes its share of every batch, which is
    shortened to a multiple of their number. Raises ConfigError for fewer than 2 rows per process.
    A row may consist of several `views`; each starts with the config's number of features.
    """

    def __init__(
        self,
        x: TrainingRows,
        config: TrainingConfig,
        device: torch.device | str,
        views: Sequence[View] = (),
    ) -> None:
        n, d = x.shape
        self._rank, self._size = rank_and_size()
        if n < 2 * self._size:
            raise ConfigError(
                f"training needs at least {2 * self._size} rows of embeddings, got {n}"
            )
        self.x, self.config, self.device = x, config, torch.device(device)
        self.heads = Heads(
            d=d,
            h=config.width,
            p=config.features * max(1, len(views)),
            shared_heads=config.shared_heads,
            skip=config.has_skip,
            generator=_generator(config.seed, WEIGHTS, 0),
        )
        if config.has_skip:
            self.heads.start_from(*_directions(x, config, self.device, views))
        self.heads.to(self.device)
        self.step_number = 0
        self.batch = min(config.batch, n) // self._size * self._size
        self.steps_per_epoch = n // self.batch
        self._order: tuple[int, Tensor] | None = None
        self._stream: tuple[int, Iterator[Tensor]] | None = None

    @property
    def total_steps(self) -> int:
        """Number of steps in the whole training."""
        return self.config.epochs * self.steps_per_epoch

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Created on first use: torch then loads its compiler, which takes seconds."""
        return build_optimizer(self.heads, self.config)

    def step(self) -> Terms:
        """Takes the next step; the terms stay on the device, so no step waits for it."""
        batch = self.next_batch()
        generator = _generator(self.config.seed, COLUMNS, self.step_number)
        out = train_step(
            self.heads, self.optimizer, batch, self.config, self.step_number, generator=generator
        )
        self.step_number += 1
        return out

    def next_batch(self) -> Float[Tensor, "b d"]:
        """This process' rows of the next step, on the device, float32."""
        rows = self._batch()
        if self.device.type == "cuda" and rows.device.type == "cpu":
            rows = rows.pin_memory()
        # From pinned memory, a GPU copies without waiting for the steps before.
        return rows.to(self.device, non_blocking=True).float()

    def finish(self) -> Heads:
        """The heads with BatchNorm settled on all rows: call it before they project."""
        settle_batchnorm(self.heads, self.x, self.batch)
        return self.heads

    def state(self) -> dict[str, Tensor]:
        """Everything needed to continue, copied to the CPU: weights, moments, step number."""
        out = {f"heads.{k}": v for k, v in self.heads.state_dict().items()}
        moments = self.optimizer.state if self.step_number else {}
        for name, parameter in self.heads.named_parameters():
            for key, value in moments.get(parameter, {}).items():
                if value is not None:
                    out[f"optimizer.{name}.{key}"] = value
        out["step"] = torch.tensor(self.step_number)
        return {k: v.detach().to("cpu", copy=True) for k, v in out.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continues from a `state`; exact on a CPU with the same config and rows."""
        prefix = "heads."
        self.heads.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        parameters = dict(self.heads.named_parameters())
        moments = [path for path in state if path.startswith("optimizer.")]
        if moments or "optimizer" in vars(self):
            self.optimizer.state.clear()
        for path, value in state.items():
            if path in moments:
                name, _, key = path.removeprefix("optimizer.").rpartition(".")
                parameter = parameters[name]
                # Adam keeps its step count on the CPU; moments are on their parameter's device.
                device = value.device if key == "step" else parameter.device
                self.optimizer.state[parameter][key] = value.to(device, copy=True)
        self.step_number = int(state["step"])

    def _batch(self) -> Tensor:
        """This process' rows of the next batch."""
        epoch, place = divmod(self.step_number, self.steps_per_epoch)
        if isinstance(self.x, Tensor):
            return self.x[self._rows()]
        if self._stream is None or self._stream[0] != self.step_number:
            self._stream = self.step_number, self.x.batches(self.batch, epoch, place)
        batch = next(self._stream[1])
        last = place + 1 == self.steps_per_epoch
        self._stream = None if last else (self.step_number + 1, self._stream[1])
        count = self.batch // self._size
        return batch[self._rank * count : (self._rank + 1) * count]

    def _rows(self) -> Tensor:
        epoch, place = divmod(self.step_number, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = _generator(self.config.seed, ORDER, epoch)
            order = torch.randperm(len(self.x), generator=generator)
            # Once an epoch: moving each step's numbers would wait for all steps before it.
            self._order = epoch, order.to(self.x.device)
        count = self.batch // self._size
        start = place * self.batch + self._rank * count
        return self._order[1][start : start + count]


def _directions(
    x: TrainingRows, config: TrainingConfig, device: torch.device, views: Sequence[View]
) -> Directions:
    """Mean of the rows, and the directions (p, d) that the heads start from.

    With several views, both are computed from the sample of rows that whitening uses.
    """
    if len(views) > 1:
        sample = x[torch.from_numpy(choose_rows(len(x), ROWS, config.seed)).to(x.device)]
        rows = sample.to(device, torch.float32)
        return view_directions(rows, views, lambda part: _directions(part, config, device, ()))
    if config.start == "principal":
        return principal_directions(x, config.features, device=device)
    return neighbour_directions(x, config.features, seed=config.seed, device=device)


def _generator(seed: int, purpose: int, number: int) -> torch.Generator:
    """An independent stream for each purpose and number."""
    words = np.random.SeedSequence([seed, purpose, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]))


def _blocks(n: int, size: int) -> list[slice]:
    return [slice(i, i + size) for i in range(0, n, size)]
