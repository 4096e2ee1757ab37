"""Coding rates in nats, as in arXiv 2306.05272 (CPP) and in the work on MLC that it builds on.

`eps_sq` is the squared distortion ε². The reference code calls it `eps`.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from .symmetric import Triangle, full_precision, inverse_factor_, log_determinant

MIN_GROUP = 1e-8
"""Added to a group's size t_j, as in the reference, so that an empty column divides by no zero."""

CHUNK_BYTES = 256 * 2**20
"""Memory of the conditional rate's work, on a CPU."""
GPU_SHARE = 8
"""On a GPU it is the GPU's memory divided by this: at n = p = 1024 packed triangles then fit a GPU
of 80 GB, which halves the arithmetic, and a step starts 30 times fewer products. Unmeasured."""

UNPACKED = 2**21
"""Numbers of the matrices that a CPU unpacks and inverts at a time, for its cache."""

LEAST_UNPACKED = 3
"""Fewest matrices at a time, if there are as many."""


def coding_rate(z: Float[Tensor, "n p"], *, eps_sq: float) -> Float[Tensor, ""]:
    """R(Z) = ½ ln det(I + p/(n ε²) ZᵀZ), in nats (arXiv 2306.05272). Differentiable.

    Uses the smaller of the p×p and the n×n Gram matrix, by Cholesky; the reference always takes
    p×p, by LU. Computes in float64: it is one small matrix, and the loss is the difference of two
    rates that are some ten times larger. NaN if `z` is not finite.
    """
    n, p = z.shape
    wide = z.double()
    with full_precision(z.device):
        gram = wide.mT @ wide if p <= n else wide @ wide.mT
        eye = torch.eye(len(gram), dtype=wide.dtype, device=z.device)
        rate = 0.5 * log_determinant(eye + p / (n * eps_sq) * gram)
    return rate.to(torch.promote_types(z.dtype, torch.float32))


def conditional_rate(
    z: Float[Tensor, "n p"],
    pi: Float[Tensor, "n m"],
    *,
    eps_sq: float,
    columns: Int[Tensor, " c"] | None = None,
    chunk_bytes: int | None = None,
) -> Float[Tensor, ""]:
    """R_c(Z, Π) = Σ_j t_j/(2n) ln det(I + p/(t_j ε²) Zᵀ Diag(Π_:j) Z), t_j = Σ_i Π_ij, in nats.

    The groups are the columns of Π (arXiv 2306.05272). With `columns`, only those are summed, and
    the sum is scaled by m/c, which is unbiased for uniformly drawn columns. Gives the same numbers
    as the reference, but instead of a buffer of n m p numbers it needs at most `chunk_bytes` (or
    one column's worth, if that is more) beside the arguments and their gradients; None suits the
    device. Differentiable once, in `z` and `pi`: the gradients are closed forms, computed along
    with the value.
    """
    z = at_least_float32(z)
    pi = pi.to(z.dtype)
    scale = 1.0
    if columns is not None:
        scale = pi.shape[1] / len(columns)
        pi = pi.index_select(1, columns)
    if not torch.is_grad_enabled():
        z, pi = z.detach(), pi.detach()
    budget = _bytes_at_once(z.device) if chunk_bytes is None else chunk_bytes
    return scale * _ConditionalRate.apply(z, pi, eps_sq, budget)  # pyright: ignore[reportReturnType]


def _bytes_at_once(device: torch.device) -> int:
    """Memory of the work, equal on equal models of GPU: how work is cut changes the last bits."""
    if device.type != "cuda":
        return CHUNK_BYTES
    return max(CHUNK_BYTES, torch.cuda.get_device_properties(device).total_memory // GPU_SHARE)


def sampled_columns(n: int, c: int, generator: torch.Generator) -> Int[Tensor, " c"]:
    """`c` of `n` columns, drawn uniformly without replacement; all, in order, if c ≥ n."""
    if c >= n:
        return torch.arange(n, device=generator.device)
    return torch.randperm(n, generator=generator, device=generator.device)[:c]


def at_least_float32(z: Tensor) -> Tensor:
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


class _ConditionalRate(torch.autograd.Function):
    """With A_j = I + α_j M_j, α_j = p/(t_j ε²), M_j = Σ_i Π_ij z_i z_iᵀ, G_j = p/(2nε²) A_j⁻¹:

    ∂R_c/∂Π_ij = z_iᵀ G_j z_i + (ln det A_j − p + tr A_j⁻¹)/(2n),  ∂R_c/∂z_i = 2 Σ_j Π_ij G_j z_i.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor, pi: Tensor, eps_sq: float, chunk_bytes: int) -> Tensor:
        wants_z, wants_pi = ctx.needs_input_grad[:2]  # pyright: ignore[reportAttributeAccessIssue]
        sums = _Sums(z, pi, eps_sq, wants_z, wants_pi)
        with full_precision(z.device):
            sums.add_all(chunk_bytes)
        ctx.save_for_backward(sums.grad_z, sums.grad_pi)  # pyright: ignore[reportArgumentType]
        return sums.value.to(z.dtype)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_z, grad_pi = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        return (
            None if grad_z is None else grad * grad_z,
            None if grad_pi is None else grad * grad_pi,
            None,
            None,
        )


class _Sums:
    """The value and the gradients of one evaluation, summed over chunks of columns."""

    def __init__(self, z: Tensor, pi: Tensor, eps_sq: float, wants_z: bool, wants_pi: bool) -> None:
        n, p = z.shape
        self.z, self.pi, self.wants_grad = z, pi, wants_z or wants_pi
        self.sizes = pi.sum(0) + MIN_GROUP  # t_j
        self.alpha = p / (self.sizes * eps_sq)
        self.grad_scale = p / (2 * n * eps_sq)  # G_j is this times A_j⁻¹
        self.logdet = self.sizes.new_empty(len(self.sizes), dtype=torch.float64)
        self.value = z.new_zeros((), dtype=torch.float64)
        self.grad_z = torch.zeros_like(z) if wants_z else None
        self.grad_pi = torch.empty_like(pi) if wants_pi else None

    def add_all(self, chunk_bytes: int) -> None:
        """Sums over all columns: by packed triangles if they fit, which halves the arithmetic.

        Less memory is used than these sizes say. They stay as they are, because they decide how
        sums are grouped, and so the last bits of trained heads.
        """
        (n, p), q = self.z.shape, self.z.shape[1] * (self.z.shape[1] + 1) // 2
        budget = chunk_bytes // self.z.element_size()
        fixed = n * q if self.grad_z is None else (n + max(n, self.pi.shape[1])) * q
        per_column = 2 * q + 4 * p * p  # numbers of work
        if fixed + per_column <= budget:
            self._add_packed(max(1, (budget - fixed) // per_column))
        else:
            self._add_batched(max(1, budget // (2 * n * p + 4 * p * p)))

    def _add_packed(self, width: int) -> None:
        """Works in as few buffers as possible: new pages cost more than the sums on them."""
        m, (n, p) = self.pi.shape[1], self.z.shape
        triangle = Triangle(p, self.z.device)
        outer = triangle.pack_outer(self.z)  # (n, q): z_i z_iᵀ
        kept = min(width, m) if self.grad_z is None else m
        packed = outer.new_empty(kept, outer.shape[1])  # M_j, then G_j
        at_once = min(width, max(n, m))
        if outer.device.type == "cpu":  # other devices lose more by short calls
            at_once = min(at_once, max(LEAST_UNPACKED, UNPACKED // (p * p)))
        pair = outer.new_empty(2, at_once, p, p)
        for part in _slices(m, width):
            pi = self.pi[:, part]
            rows = packed[: pi.shape[1]] if self.grad_z is None else packed[part]
            torch.mm(pi.mT, outer, out=rows)
            self._invert_packed(rows, part, triangle, pair)
            if self.grad_pi is not None:
                self.grad_pi[:, part] += outer @ rows.mT
        if self.grad_z is None:
            return
        pulled = outer  # overwritten by Σ_j Π_ij G_j
        for part in _slices(m, width):
            if part.start == 0:
                torch.mm(self.pi[:, part], packed[part], out=pulled)
            else:
                pulled.addmm_(self.pi[:, part], packed[part])
        for chunk in _slices(n, width):
            for part in _even_slices(chunk, at_once):
                rows = pulled[part]
                full = triangle.unpack(rows, out=pair[0, : len(rows)])  # twice G off the diagonal
                full.diagonal(dim1=1, dim2=2).mul_(2)
                self.grad_z[part] = (full @ self.z[part, :, None]).squeeze(2)

    def _invert_packed(self, packed: Tensor, part: slice, triangle: Triangle, pair: Tensor) -> None:
        """Turns the M_j of these columns into their G_j, doubled off the diagonal.

        The products with packed triangles see each off-diagonal pair once, but it counts twice.
        """
        weight = self.grad_scale * (2 - triangle.is_diagonal.to(packed.dtype))
        for columns in _even_slices(part, pair.shape[1]):
            rows = packed[columns.start - part.start : columns.stop - part.start]
            full, inverse = pair[:, : len(rows)]
            if self._invert(triangle.unpack(rows, out=full), columns, out=inverse):
                triangle.pack(inverse, out=rows).mul_(weight)
        self._add_value(part)

    def _add_batched(self, width: int) -> None:
        z, (n, p) = self.z, self.z.shape
        for part in _slices(self.pi.shape[1], width):
            pi = self.pi[:, part]
            weighted = z.mT * pi.mT[:, None, :]  # (c, p, n)
            gram = (weighted.view(-1, n) @ z).view(-1, p, p)
            del weighted
            inverse = torch.empty_like(gram)
            has_inverse = self._invert(gram, part, out=inverse)
            self._add_value(part)
            if not has_inverse:
                continue
            g = inverse.mul_(self.grad_scale)
            gz = (z @ g.view(-1, p).mT).view(n, -1, p)  # G_j z_i
            if self.grad_pi is not None:
                self.grad_pi[:, part] += (gz @ z[:, :, None]).squeeze(2)
            if self.grad_z is not None:
                self.grad_z += 2 * (pi[:, None, :] @ gz).squeeze(1)

    def _invert(self, gram: Tensor, part: slice, out: Tensor) -> bool:
        """Stores ln det A_j of these columns; writes A_j⁻¹ if gradients are needed."""
        n, p = self.z.shape
        a = gram.mul_(self.alpha[part, None, None])
        a.diagonal(dim1=1, dim2=2).add_(1)
        if not self.wants_grad:
            self.logdet[part] = log_determinant(a)
            return False
        logdet = self.logdet[part] = inverse_factor_(a, work=out)
        torch.bmm(a.mT, a, out=out)
        if self.grad_pi is not None:
            trace = out.diagonal(dim1=1, dim2=2).sum(1)
            self.grad_pi[:, part] = ((logdet - p + trace) / (2 * n)).to(trace.dtype)
        return True

    def _add_value(self, part: slice) -> None:
        self.value += (self.sizes[part] * self.logdet[part]).sum() / (2 * len(self.z))


def _slices(count: int, width: int) -> Iterator[slice]:
    """Slices of `width` each; the last may be shorter."""
    for start in range(0, count, width):
        yield slice(start, min(start + width, count))


def _even_slices(whole: slice, most: int) -> Iterator[slice]:
    """As few slices as possible of at most `most`, whose lengths differ by one at most.

    So several matrices give a batch of one, multiplied in another order, only if `most` is below 3.
    """
    length = whole.stop - whole.start
    pieces = -(-length // most)
    for i in range(pieces):
        yield slice(whole.start + i * length // pieces, whole.start + (i + 1) * length // pieces)
