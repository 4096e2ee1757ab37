"""The vectors of an .npy file, which are read and not mapped.

Where a mapped file was cut meanwhile, or its disk fails, reading it ends the process without a
word.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....store import ShardError


@dataclass(frozen=True, kw_only=True)
class VectorFile:
    """The rows of a file, each read when it is taken."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype
    offset: int
    """Bytes before the first row."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """The rows of a slice of step 1; ShardError if the file ends before them."""
        start, stop, _ = rows.indices(self.shape[0])
        size = self.shape[1]
        offset = self.offset + start * size * self.dtype.itemsize
        values = np.fromfile(self.path, self.dtype, (stop - start) * size, offset=offset)
        if len(values) < (stop - start) * size:
            raise ShardError(
                f"{self.path} ends or cannot be read before row {stop}: it was changed, or its "
                "disk fails; restore it, and run the same command again"
            )
        return values.reshape(-1, size)


def open_vectors(path: Path) -> VectorFile | np.ndarray:
    """The vectors of a file; those that are stored column by column are all read at once."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not mapped.flags.c_contiguous:
        return np.load(path, allow_pickle=False)
    return VectorFile(path=path, shape=mapped.shape, dtype=mapped.dtype, offset=mapped.offset)
