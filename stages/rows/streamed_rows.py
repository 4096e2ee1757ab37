"""Rows that do not fit into memory: in shuffled batches for training, or block by block."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ...store import Artifact, ConfigError
from ...store.counting import counted
from ..contract import DrawRows
from .artifact_rows import Block, blocks_of, own_role
from .sampled_rows import gather_rows, width_of

if TYPE_CHECKING:
    import torch

_ROWS_AT_ONCE = 8192
"""Rows in a block that is read and held for indexing."""

_BLOCKS_OF_BUFFER = 16
"""Blocks whose rows the buffer mixes, at least."""


def shuffled_batches(
    artifact: Artifact, *, batch: int, buffer_rows: int, seed: int, epoch: int
) -> Iterator[np.ndarray]:
    """One epoch as float16 arrays (batch, d): every row once, except those of a last short batch.

    Blocks of rows enter a buffer in a random order over all parts, and rows leave it by a uniform
    draw; both depend only on (seed, epoch) and the artifact. With a buffer of all rows it is a
    uniform shuffle. Holds `buffer_rows` rows, a block of at most a sixteenth of them, a batch, and
    a quarter of the buffer while rows move up. In a compressed Parquet file, which no stage writes,
    a block is a row group. Raises ConfigError at once if no batch can be full.
    """
    if not 1 <= batch <= artifact.rows:
        raise ConfigError(
            f"batch must be from 1 to the {counted(artifact.rows, 'row')} of {artifact!r}, got "
            f"{batch}"
        )
    if buffer_rows < batch:
        raise ConfigError(f"buffer_rows must be at least the batch, {batch}, got {buffer_rows}")

    buffer_rows = min(buffer_rows, artifact.rows)
    most_rows = max(1, buffer_rows // _BLOCKS_OF_BUFFER)
    width, blocks = blocks_of(artifact, most_rows=most_rows)
    generator = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    order = generator.permutation(len(blocks))
    return _draw([blocks[i] for i in order], width, batch, buffer_rows, generator)


class StreamedRows:
    """Embeddings or views, read on access: a `RowReader` of `algorithms.training_rows`."""

    dtype: "torch.dtype"
    device: "torch.device"

    def __init__(
        self, artifact: Artifact, buffer_rows: int, seed: int, draw: DrawRows | None = None
    ) -> None:
        import torch

        self._artifact, self._buffer_rows, self._seed = artifact, buffer_rows, seed
        self._draw = draw or gather_rows
        self._role = own_role(artifact)
        self.shape = (artifact.rows, width_of(artifact, self._role))
        self.dtype, self.device = torch.float16, torch.device("cpu")
        self._loaded: tuple[int, np.ndarray] | None = None

    @cached_property
    def _blocks(self) -> "list[Block]":
        """Blocks of all rows, which a sample does not need."""
        return blocks_of(self._artifact, most_rows=_ROWS_AT_ONCE)[1]

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: "slice | torch.Tensor") -> "torch.Tensor":
        """Consecutive rows, of which it holds one block at a time, or rows by their numbers."""
        import torch

        if not isinstance(rows, slice):
            return torch.from_numpy(self._draw(self._artifact, self._role, rows.numpy()))
        numbers = np.arange(*rows.indices(len(self)))
        starts = np.array([block.start for block in self._blocks])
        inside = np.searchsorted(starts, numbers, side="right") - 1
        out = np.empty((len(numbers), self.shape[1]), np.float16)
        for number in np.unique(inside):
            chosen = inside == number
            out[chosen] = self._block(int(number))[numbers[chosen] - starts[number]]
        return torch.from_numpy(out)

    def batches(self, size: int, epoch: int, first: int) -> "Iterator[torch.Tensor]":
        """The shuffled batches of an epoch, from batch number `first` on."""
        import torch

        drawn = shuffled_batches(
            self._artifact,
            batch=size,
            buffer_rows=max(size, self._buffer_rows),
            seed=self._seed,
            epoch=epoch,
        )
        return map(torch.from_numpy, islice(drawn, first, None))

    def _block(self, number: int) -> np.ndarray:

        if self._loaded is None or self._loaded[0] != number:
            block = self._blocks[number]
            rows = np.empty((block.rows, self.shape[1]), np.float16)
            block.read(rows)
            self._loaded = number, rows
        return self._loaded[1]


def _draw(
    blocks: "Sequence[Block]",
    width: int,
    batch: int,
    buffer_rows: int,
    generator: np.random.Generator,
) -> Iterator[np.ndarray]:

    largest = max(block.rows for block in blocks)
    buffer = np.empty((buffer_rows + largest, width), np.float16)
    filled = 0
    remaining = iter(blocks)
    block = next(remaining, None)
    while True:
        while block and filled < buffer_rows:
            block.read(buffer[filled : filled + block.rows])
            filled += block.rows
            block = next(remaining, None)
        # Half of the buffer at a time, so that remaining rows mix with new ones.
        drawn = max(batch, filled // 2) if block else filled
        order = generator.permutation(filled)[: drawn - drawn % batch]
        for first in range(0, len(order), batch):
            yield buffer[order[first : first + batch]]
        if block is None:
            return
        filled = _close_gaps(buffer, filled, order)


def _close_gaps(buffer: np.ndarray, filled: int, drawn: np.ndarray) -> int:
    """Moves remaining rows from the end into the places of drawn ones; returns their number."""
    stays = np.ones(filled, bool)
    stays[drawn] = False
    kept = filled - len(drawn)
    buffer[np.flatnonzero(~stays[:kept])] = buffer[kept + np.flatnonzero(stays[kept:])]
    return kept
