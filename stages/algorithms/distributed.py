"""Training of one pair of heads by several processes: each computes the heads' outputs for its
share of the batch, and gathers those of the others.

They are the processes of torch.distributed's default group; without a group there is one process.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


def rank_and_size() -> tuple[int, int]:
    """This process' rank and the number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_batch(rows: Float[Tensor, "b p"]) -> Float[Tensor, "n p"]:
    """The rows of all processes in order of rank; every process must have the same number.

    Differentiable: gradients are summed over the processes.
    """
    return rows if rank_and_size()[1] == 1 else cast(Tensor, _Gather.apply(rows))


def sum_over(value: Tensor) -> Tensor:
    """The sum over all processes. Differentiable: gradients are summed too."""
    return value if rank_and_size()[1] == 1 else cast(Tensor, _Sum.apply(value))


def from_first(value: float) -> float:
    """The first process' value, in all of them."""
    if rank_and_size()[1] == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)


@torch.no_grad()
def sum_gradients(module: nn.Module) -> None:
    """Makes every parameter's gradient that of the sum of all processes' losses."""
    if rank_and_size()[1] == 1:
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)


class GlobalBatchNorm(nn.BatchNorm1d):
    """BatchNorm over the rows of all processes; torch's SyncBatchNorm only runs on CUDA."""

    def forward(self, input: Float[Tensor, "b h"]) -> Float[Tensor, "b h"]:  # noqa: A002
        """Normalised rows; in training the running statistics follow the whole batch."""
        size = rank_and_size()[1]
        if not self.training or size == 1:
            return super().forward(input)
        n = size * len(input)
        mean = sum_over(input.sum(0)) / n
        centred = input - mean
        variance = sum_over(centred.square().sum(0)) / n
        with torch.no_grad():
            momentum = cast(float, self.momentum)
            cast(Tensor, self.running_mean).lerp_(mean, momentum)
            cast(Tensor, self.running_var).lerp_(variance * n / max(1, n - 1), momentum)
            cast(Tensor, self.num_batches_tracked).add_(1)
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        whole = grads[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole.chunk(dist.get_world_size())[dist.get_rank()]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total
