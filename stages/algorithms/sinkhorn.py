"""Doubly stochastic memberships from similarities, as in arXiv 2306.05272 (CPP).

Π = n exp((S + u 1ᵀ + 1 vᵀ)/η), scaled so that rows and columns sum to one. In the paper S is
|C Cᵀ|; `reference_membership` takes any square S, the other functions any symmetric S.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ...store.errors import NumericError
from .symmetric import full_precision

BLOCK = 8
"""Steps between two checks of the residual, each of which waits for the device."""

ROWS = 4096
"""Rows of the similarity summed at once, so that no third matrix is held."""

UNCHECKED = 64
"""Steps without checks: each halves the error, and float32 has 24 bits."""


def reference_membership(
    similarity: Float[Tensor, "n n"], *, eta: float, half_iterations: int = 5
) -> Float[Tensor, "n n"]:
    """Π as the reference computes it: alternating row and column updates, starting with the rows.

    After an odd number of half iterations rows sum to one, and columns nearly; Π is not symmetric.
    v counts as a constant, so the gradient is that of a softmax over each row.
    """
    marginal = -math.log(len(similarity))
    u, v = similarity.new_zeros(len(similarity), 1), similarity.new_zeros(len(similarity))
    for i in range(half_iterations):
        last_of_u = i >= half_iterations - 2 and i % 2 == 0
        s = similarity if last_of_u else similarity.detach()
        if i % 2 == 0:
            u = eta * (marginal - torch.logsumexp((s + v) / eta, 1, keepdim=True))
        else:
            v = eta * (marginal - torch.logsumexp((s + u.detach()) / eta, 0))
    return torch.exp((similarity + u + v) / eta - marginal)


def membership(
    similarity: Float[Tensor, "n n"],
    *,
    eta: float,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
    check: bool = True,
) -> Float[Tensor, "n n"]:
    """The doubly stochastic, symmetric Π of a symmetric similarity, iterated to convergence.

    Differs from the reference, which stops after five half iterations and holds v constant: rows
    and columns sum to one within `tolerance` (or the precision of the floating type, if that is
    coarser), and the gradient is the true one, by the implicit function theorem, symmetrised. An
    asymmetric `similarity` gives meaningless numbers. Raises NumericError if `similarity` is not
    finite, or the residual exceeds the tolerance after `max_iterations` matrix-vector products.

    Without `check` nothing waits for the device: it always takes `UNCHECKED` products, and returns
    NaN throughout if it would raise.
    """
    most = max_iterations if check else 0
    return _Membership.apply(similarity, eta, tolerance, most)  # pyright: ignore[reportReturnType]


def potentials(
    similarity: Float[Tensor, "n n"],
    *,
    eta: float,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
) -> Float[Tensor, " n"]:
    """u with Π_ij = n exp((S_ij + u_i + u_j)/η), which extends a membership to further rows.

    Without gradient. The conditions of `membership` apply.
    """
    with torch.no_grad(), full_precision(similarity.device):
        u, _, x = _scale(similarity, eta, tolerance, max_iterations)
    return u + eta * x.log()


def _scale(
    s: Tensor, eta: float, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """u, K = n exp((S + u_i + u_j)/η) and x, so that Π = diag(x) K diag(x).

    The symmetric fixed point u ← (u + T(u))/2, T(u)_i = η(−ln n − logsumexp_j (S_ij + u_j)/η),
    multiplies the error along an eigenvector of Π with eigenvalue λ by (1 − λ)/2: by half or less
    if the kernel is positive semidefinite, which it nearly is for cosines. Between two checks it
    runs on K as x ← √(x / (K x)); then x is absorbed into u, so nothing over- or underflows.
    """
    n, tolerance, u = len(s), _reachable(tolerance, s), _first_potentials(s, eta)
    residual = math.inf
    for _ in range(0, max_iterations, BLOCK):
        kernel, x, error = _block(s, u, eta)
        residual = float(error)
        if residual <= tolerance:
            return u, kernel, x
        if not math.isfinite(residual):
            raise NumericError(
                f"the similarity of {n} samples holds a non-finite number "
                f"(residual {residual} at eta {eta}): check the features that it comes from"
            )
        u = u + eta * x.log()
        del kernel  # frees its memory before the next one is computed
    raise NumericError(
        f"the membership of {n} samples did not converge at eta {eta}: after {max_iterations} "
        f"iterations row sums differ from one by {residual:.1e}, more than {tolerance:.1e}: "
        "raise eta or max_iterations"
    )


def _scale_unchecked(
    s: Tensor, eta: float, tolerance: float, _: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`_scale` without waiting for the device; x is NaN if the tolerance is missed."""
    u = _first_potentials(s, eta)
    for _ in range(UNCHECKED // BLOCK - 1):
        u = u + eta * _block(s, u, eta)[1].log()
    kernel, x, error = _block(s, u, eta)
    return u, kernel, torch.where(error <= _reachable(tolerance, s), x, torch.nan)


def _reachable(tolerance: float, s: Tensor) -> float:
    return max(tolerance, 32 * torch.finfo(s.dtype).eps)


def _first_potentials(s: Tensor, eta: float) -> Tensor:
    sums = [torch.logsumexp(rows / eta, 1) for rows in s.split(ROWS)]
    return -0.5 * eta * (torch.cat(sums) + math.log(len(s)))


def _block(s: Tensor, u: Tensor, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """K of the potentials u, x after `BLOCK` steps on it, and the largest error of a row sum."""
    kernel = (s + u[:, None]).add_(u).div_(eta).add_(math.log(len(s))).exp_()
    x = torch.ones_like(u)
    sums = kernel @ x
    for _ in range(BLOCK):
        # The clamp bounds a step where a row of K underflowed; near the solution it has no effect.
        x = x * sums.clamp(1e-4, 1e4).rsqrt()
        sums = x * (kernel @ x)
    return kernel, x, (sums - 1).abs().max()


class _Membership(torch.autograd.Function):
    """With W = Π ∘ ∂L/∂Π / η and (I + Π) w = W 1 + Wᵀ 1, for symmetric S:

    ∂L/∂S_ij = (W_ij + W_ji)/2 − Π_ij (w_i + w_j)/2.

    I + Π has eigenvalues in [0, 2]. The usual system, I − ΠΠᵀ made regular by 11ᵀ/n, gets one more
    singular direction for each further connected component of the graph; this one does not. It has
    an eigenvalue 0 only if a component is bipartite; there w is not unique but ∂L/∂S is, and the
    ridge picks one w.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, s: Tensor, eta: float, tolerance: float, max_iterations: int
    ) -> Tensor:
        with full_precision(s.device):
            scale = _scale if max_iterations else _scale_unchecked
            _, kernel, x = scale(s, eta, tolerance, max_iterations)
        pi = kernel.mul_(x[:, None]).mul_(x)
        ctx.save_for_backward(pi)
        ctx.eta = eta  # pyright: ignore[reportAttributeAccessIssue]
        return pi

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, None, None, None]:
        (pi,) = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        w = pi * grad / ctx.eta  # pyright: ignore[reportAttributeAccessIssue]
        system = pi.to(torch.float64, copy=True)
        system.diagonal().add_(1 + 1e-10)
        right = (w.sum(1) + w.sum(0)).double()
        factor, _ = torch.linalg.cholesky_ex(system)  # does not wait for the device
        shift = torch.cholesky_solve(right[:, None], factor).squeeze(1).to(pi.dtype)
        return 0.5 * (w + w.mT - pi * (shift[:, None] + shift)), None, None, None
