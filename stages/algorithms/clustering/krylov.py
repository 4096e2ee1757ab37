"""Leading eigenpairs of a dense symmetric matrix by a restarted block Krylov method.

Multiplies the matrix with blocks of vectors, on a CPU or a GPU. A Lanczos iteration, which takes
one vector at a time, is limited by memory: for 155 pairs of 8,000 rows it took 23 s on two cores,
and this takes 8 s.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ....store.errors import NumericError
from ..symmetric import full_precision

DENSE_ORDER = 1200
"""Order up to which the matrix is decomposed in full, in at most a second."""
SURPLUS = 32
"""Extra vectors in a block, which speed up the convergence of the last requested ones."""
DEPTH = 4
"""Products between two restarts."""
ROUNDS = 5
"""Restarts, at most. Vectors that have not converged by then are in a flat part of the spectrum,
which holds no clusters: planted subspaces with outliers took 12 rounds to converge, and were found
as well after 5."""
TOLERANCE = 5e-3
"""Largest residual ‖A v − λ v‖ at which the iteration ends, relative to the largest |λ|. More
digits changed no cluster label in our measurements."""


def leading_pairs(
    a: Float[Tensor, "n n"], k: int, seed: int
) -> tuple[Float[Tensor, " k"], Float[Tensor, "n k"]]:
    """The min(k, n) largest eigenvalues, in falling order, and their unit eigenvectors.

    Both have the type of `a`. The entry of largest size of each vector is positive. Raises
    NumericError if `a` is not finite. Needs about 3 (DEPTH + 1) n k numbers beside `a`.
    """
    n = len(a)
    k = min(k, n)
    if not bool(torch.isfinite(a).all()):
        raise NumericError(
            f"the affinity of {n} samples holds a non-finite number: check the features that it "
            "comes from"
        )
    with full_precision(a.device):
        if n <= DENSE_ORDER or 4 * (k + SURPLUS) > n:
            values, vectors = torch.linalg.eigh(a.double())
            values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k].to(a.dtype)
        else:
            values, vectors = _iterate(a, k, seed)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return values.to(a.dtype), torch.where(largest < 0, -vectors, vectors)


def _iterate(a: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    n, width = len(a), k + SURPLUS
    depth = max(1, min(DEPTH, n // (2 * width) - 1))
    start = torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=a.dtype)
    block = torch.linalg.qr(start.to(a.device))[0]
    values, vectors = block.new_zeros(width), block
    for _ in range(ROUNDS):
        basis = _krylov(a, vectors, depth)
        image = a @ basis
        small = (basis.mT @ image).double()
        values, turn = torch.linalg.eigh((small + small.mT) / 2)
        values, turn = values.flip(0)[:width], turn.flip(1)[:, :width].to(a.dtype)
        vectors = basis @ turn
        residual = (image @ turn[:, :k] - vectors[:, :k] * values[:k].to(a.dtype)).norm(dim=0)
        if float(residual.max()) <= TOLERANCE * float(values.abs().max()):
            break
    return values[:k], vectors[:, :k]


def _krylov(a: Tensor, block: Tensor, depth: int) -> Tensor:
    """An orthonormal basis of the span of block, A block, …, A^depth block."""
    blocks = [torch.linalg.qr(block)[0]]
    for _ in range(depth):
        new = a @ blocks[-1]
        for old in blocks:
            new = new - old @ (old.mT @ new)
        blocks.append(torch.linalg.qr(new)[0])
    # If new vectors depend on old ones, only rounding remains, which may not be orthogonal to
    # the old ones: a matrix of equal entries got an eigenvalue of 1.6 instead of 1. Another QR
    # decomposition makes it an orthonormal basis.
    return torch.linalg.qr(torch.cat(blocks, 1))[0]
