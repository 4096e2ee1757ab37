"""The golden numbers of the official code; one thread."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], Arrays]:
    """Opens one file of golden numbers as a dict of arrays."""

    def load(name: str) -> Arrays:
        with np.load(shared / "golden" / f"{name}.npz") as archive:
            return {key: archive[key] for key in archive.files}

    return load


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads do not help with small matrices, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    # The first comparison imports for a second, which would count for an example.
    torch.testing.assert_close(torch.ones(1), torch.ones(1))
    yield
    torch.set_num_threads(before)
