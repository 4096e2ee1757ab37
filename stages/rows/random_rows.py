"""Embeddings in any order, of sets too large for memory: rows from a temporary file."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...store import Artifact
from .artifact_rows import blocks_of


@contextlib.contextmanager
def random_rows(artifact: Artifact, folder: Path) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """A function that reads float16 rows by their numbers, in any order.

    All rows are written once, in order, to a file in the folder; the file has no name and vanishes
    at the end, even if the process is killed.
    """
    width, blocks = blocks_of(artifact)
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            rows = np.empty((block.rows, width), np.float16)
            block.read(rows)
            file.write(rows.data)
        file.flush()

        def read(rows: np.ndarray) -> np.ndarray:
            if not len(rows):
                return np.empty((0, width), np.float16)
            # Mapped again each time: the process releases pages that it read with their mapping.
            mapped = np.memmap(file, np.float16, "r", shape=(artifact.rows, width))
            return np.asarray(mapped)[rows]

        yield read
