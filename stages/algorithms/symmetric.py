"""Batches of symmetric positive definite matrices: packed triangles, determinants and inverses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

LEAF = 16
"""Order up to which a block goes to LAPACK, whose loop over a batch uses one core. 256 matrices of
order 128 take 0.090 s of one core with LAPACK alone, and 0.057 s with leaves of 16."""
LEAF_ON_GPU = 64
"""The same on a GPU, where a batch is decomposed at once and starting a step costs more than small
arithmetic: a quarter of the steps of `LEAF`. Unmeasured."""


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Disables autocast, TF32 and bfloat16 in matrix products: a determinant needs every bit."""
    before = torch.get_float32_matmul_precision()
    if before != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if before != "highest":
            torch.set_float32_matmul_precision(before)


def log_determinant(a: Float[Tensor, "*c p p"]) -> Float[Tensor, "*c"]:
    """ln det of positive definite matrices by Cholesky, in float64; NaN for other matrices.

    Differentiable.
    """
    return _twice_log_diagonal(*torch.linalg.cholesky_ex(a))


def inverse_factor_(
    a: Float[Tensor, "c p p"], *, work: Float[Tensor, "c p p"] | None = None
) -> Float[Tensor, " c"]:
    """Overwrites `a` with the inverse K of its lower Cholesky factor; returns ln det `a`.

    KᵀK is the inverse of `a`. Reads only the lower triangle. Recursively halves the order down to
    that of a leaf, so that nearly all work is batched matrix products; they are in place and in
    `work`, because new pages cost more than the arithmetic. ln det is in float64, and NaN for a
    matrix that is not positive definite.
    """
    return _inverse_factor_(a, torch.empty_like(a).flatten() if work is None else work.flatten())


def _inverse_factor_(a: Tensor, work: Tensor) -> Tensor:
    p = a.shape[-1]
    if p <= (LEAF if a.device.type == "cpu" else LEAF_ON_GPU):
        factor, failed = torch.linalg.cholesky_ex(a)
        eye = torch.eye(p, dtype=a.dtype, device=a.device).expand_as(a)
        a.copy_(torch.linalg.solve_triangular(factor, eye, upper=False))
        return _twice_log_diagonal(factor, failed)
    h = p // 2
    top, above, below, low = a[:, :h, :h], a[:, :h, h:], a[:, h:, :h], a[:, h:, h:]
    size, shape = below.numel(), below.shape
    first, second, third = (work[i * size : (i + 1) * size].view(shape) for i in range(3))
    logdet = _inverse_factor_(top, work)
    left = torch.bmm(below, top.mT, out=first)  # the factor's lower left block
    square = work[size : size + low.numel()].view(low.shape)
    low.sub_(torch.bmm(left, left.mT, out=square))
    logdet = logdet + _inverse_factor_(low, work[size:])
    torch.neg(torch.bmm(low, torch.bmm(left, top, out=second), out=third), out=below)
    above.zero_()
    return logdet


class Triangle:
    """Packs the upper triangle of matrices of order `p`, row by row, and unpacks it."""

    def __init__(self, p: int, device: torch.device) -> None:
        rows, columns = torch.triu_indices(p, p, device=device)
        self.p = p
        self.inside: Int[Tensor, " q"] = (rows * p + columns).int()
        self.is_diagonal = rows == columns
        place = torch.zeros(p, p, dtype=torch.long, device=device)
        place[rows, columns] = torch.arange(len(rows), device=device)
        place[columns, rows] = place[rows, columns]
        self.place: Int[Tensor, " p2"] = place.flatten().int()

    def pack(
        self, full: Float[Tensor, "c p p"], *, out: Float[Tensor, "c q"] | None = None
    ) -> Float[Tensor, "c q"]:
        """The upper triangles, one matrix per row."""
        return torch.index_select(full.flatten(1), 1, self.inside, out=out)

    def pack_outer(self, z: Float[Tensor, "n p"]) -> Float[Tensor, "n q"]:
        """The upper triangles of z_i z_iᵀ, one sample per row."""
        out = z.new_empty(len(z), len(self.inside))
        start = 0
        for i in range(self.p):
            stop = start + self.p - i
            torch.mul(z[:, i:], z[:, i : i + 1], out=out[:, start:stop])
            start = stop
        return out

    def unpack(
        self, packed: Float[Tensor, "c q"], *, out: Float[Tensor, "c p p"] | None = None
    ) -> Float[Tensor, "c p p"]:
        """The full symmetric matrices."""
        flat = None if out is None else out.view(-1, self.p * self.p)
        return torch.index_select(packed, 1, self.place, out=flat).view(-1, self.p, self.p)


def _twice_log_diagonal(factor: Tensor, failed: Tensor) -> Tensor:
    value = 2 * factor.diagonal(dim1=-2, dim2=-1).double().log().sum(-1)
    return value.masked_fill(failed != 0, torch.nan)
