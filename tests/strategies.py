"""Hypothesis strategies that several tests share."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

seeds = st.integers(0, 2**32 - 1)


def random_unit_rows(n: int, p: int, seed: int) -> Tensor:
    """n unit rows in float64, uniform on the sphere."""
    z = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(z, dim=1)


def random_rows(n: int, p: int, seed: int) -> np.ndarray:
    """The same rows as a float32 array."""
    return random_unit_rows(n, p, seed).float().numpy()


def random_labels(n: int, k: int, seed: int) -> Tensor:
    """A label from 0 to k - 1 for each of n rows."""
    return torch.randint(0, k, (n,), generator=torch.Generator().manual_seed(seed))


def random_memberships(n: int, m: int, seed: int) -> Tensor:
    """n rows over m groups, not negative, each with sum one, from uniform to nearly hard."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, m, generator=generator, dtype=torch.float64)
    return torch.softmax(logits * 4 * torch.rand(1, generator=generator, dtype=torch.float64), 1)


def random_rotation(p: int, seed: int) -> Tensor:
    """An orthogonal matrix, reflections included."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(p, p, generator=generator, dtype=torch.float64))[0]


@st.composite
def unit_rows(draw: st.DrawFn, *, max_n: int = 12, max_p: int = 8) -> Tensor:
    """Up to `max_n` samples of up to `max_p` features, rows of unit length, float64."""
    n, p = draw(st.integers(2, max_n)), draw(st.integers(1, max_p))
    return random_unit_rows(n, p, draw(seeds))


@st.composite
def labellings(draw: st.DrawFn, *, max_n: int = 30, max_k: int = 6) -> tuple[list[int], list[int]]:
    """True and predicted labels of the same samples, up to `max_k` of each."""
    n = draw(st.integers(1, max_n))
    labels = st.lists(st.integers(0, max_k - 1), min_size=n, max_size=n)
    return draw(labels), draw(labels)


byte_edits = st.lists(
    st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=4)), max_size=4
)
"""Some bytes to write over those of a file, each with its place."""


def overwrite_bytes(path: Path, edits: list[tuple[int, bytes]]) -> None:
    """Damages a file by `byte_edits`; places beyond its end begin again."""
    content = bytearray(path.read_bytes())
    for at, new in edits:
        at %= len(content)
        content[at : at + len(new)] = new
    path.write_bytes(content)
