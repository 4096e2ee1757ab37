"""Rows to train on: a tensor that holds them all, or a reader that reads them on access."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class RowReader(Protocol):
    """Embeddings that do not fit into memory; reads like a tensor (n, d) on the CPU."""

    @property
    def shape(self) -> tuple[int, int]:
        """n and d."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Type of the rows."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        ...

    def __len__(self) -> int:
        """n."""
        ...

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Consecutive rows, or rows by their ascending numbers."""
        ...

    def batches(self, size: int, epoch: int, first: int) -> Iterator[Tensor]:
        """The shuffled batches of an epoch, from batch number `first` on."""
        ...


TrainingRows = Float[Tensor, "n d"] | RowReader
