"""Rows to train on: a tensor that holds them all, or something that reads them when asked."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class RowReader(Protocol):
    """Embeddings that do not fit into memory. Looks like a tensor (n, d) on the CPU to a reader."""

    @property
    def shape(self) -> tuple[int, int]:
        """n and d."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows that are read."""
        ...

    @property
    def device(self) -> torch.device:
        """Where rows that were read lie."""
        ...

    def __len__(self) -> int:
        """n."""
        ...

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Neighbouring rows, or rows by their ascending numbers."""
        ...

    def batches(self, size: int, epoch: int, first: int) -> Iterator[Tensor]:
        """The batches of an epoch in its own order, from number `first` on."""
        ...


TrainingRows = Float[Tensor, "n d"] | RowReader
