"""Leading eigenpairs of a dense symmetric matrix by a restarted block Krylov method.

Products of the matrix with blocks of vectors, on a CPU or a GPU. A Lanczos iteration, which takes
one vector at a time, waits for memory: on two cores 8,000 rows and 155 pairs took it 23 s, this 8.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ....store.errors import NumericError
from ..symmetric import full_precision

DENSE_ORDER = 1200
"""Up to this order a full decomposition takes a second."""
SURPLUS = 32
"""Vectors of a block beyond those that are wanted: they speed up the last of these."""
DEPTH = 4
"""Products between two restarts."""
ROUNDS = 5
"""Restarts at most. What has not converged then lies in a flat part of the spectrum, where vectors
stand for nothing that clusters could be read off: planted subspaces with outliers took 12 rounds to
converge, and were found as well after 5."""
TOLERANCE = 5e-3
"""Largest residual ‖A v − λ v‖ at which an iteration ends, relative to the largest |λ|. Clusters
are read off directions among thousands of rows; more digits changed no label that we measured."""


def leading_pairs(
    a: Float[Tensor, "n n"], k: int, seed: int
) -> tuple[Float[Tensor, " k"], Float[Tensor, "n k"]]:
    """The min(k, n) largest eigenvalues, falling, and their unit eigenvectors, in `a`'s type.

    The entry of a vector that is largest in size is positive. Raises NumericError where `a` holds
    a number that is not finite. Holds about 3 (DEPTH + 1) n k numbers beside `a`.
    """
    n = len(a)
    k = min(k, n)
    if not bool(torch.isfinite(a).all()):
        raise NumericError(
            f"the affinity of {n} samples holds a number that is not finite: look at the features "
            "that it comes from"
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
    """An orthonormal basis of what block, A block, …, A^depth block span."""
    blocks = [torch.linalg.qr(block)[0]]
    for _ in range(depth):
        new = a @ blocks[-1]
        for old in blocks:
            new = new - old @ (old.mT @ new)
        blocks.append(torch.linalg.qr(new)[0])
    # Of vectors that depend on the old ones rounding is left, which may point back among these: a
    # matrix of equal entries had an eigenvalue of 1.6 for 1. Reflections make any of them a basis.
    return torch.linalg.qr(torch.cat(blocks, 1))[0]
