"""The loss of CPP (arXiv 2306.05272): −R(Z) + γ R_c(Z, Π) + λ/2 ‖Π‖²; while warming up, −R(Z)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .rates import coding_rate, conditional_rate, sampled_columns
from .sinkhorn import membership, reference_membership


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The settings that the loss depends on."""

    eta: float
    """Temperature of the membership: a lower one is closer to a hard assignment."""
    gamma: float
    """Weight of the conditional rate; the reference has no such factor, i.e. 1."""
    pi_reg: float
    """λ, weight of the squared norm of the membership."""
    eps_sq: float
    """ε², the squared distortion; the reference calls it eps."""
    sinkhorn: Literal["reference", "exact"]
    """A few half iterations with a partial gradient, or a converged membership with the true one.
    """
    half_iterations: int
    """Half iterations of the reference's membership; `exact` ignores it."""
    columns: int
    """Columns of Π that the conditional rate is estimated from at each step; 0 takes all."""


class Terms(NamedTuple):
    """The loss and its terms: loss = −rate + γ conditional_rate + regulariser.

    Rates are in nats. In the warm-up conditional_rate and regulariser are not computed, and are 0.
    """

    rate: Float[Tensor, ""]
    conditional_rate: Float[Tensor, ""]
    regulariser: Float[Tensor, ""]
    loss: Float[Tensor, ""]


def terms(
    z: Float[Tensor, "n p"],
    c: Float[Tensor, "n p"],
    objective: Objective,
    *,
    warmup: bool,
    generator: torch.Generator | None = None,
    share: tuple[int, int] = (0, 1),
) -> Terms:
    """The loss of one batch. `generator` draws the columns if the objective samples them.

    With `share` (i, count), the losses of all `count` shares add up to the loss: each share takes
    some of the columns and an equal part of the rest. Rate and regulariser are returned in full.
    """
    number, count = share
    rate = coding_rate(z, eps_sq=objective.eps_sq)
    if warmup:
        zero = torch.zeros_like(rate)
        return Terms(rate, zero, zero, -rate / count)
    similarity = (c @ c.mT).abs()
    if objective.sinkhorn == "exact":
        # Checking the residual is free on a CPU; elsewhere it waits for the device.
        pi = membership(similarity, eta=objective.eta, check=similarity.device.type == "cpu")
    else:
        pi = reference_membership(
            similarity, eta=objective.eta, half_iterations=objective.half_iterations
        )
    columns = None
    if 0 < objective.columns < len(z):
        assert generator is not None, "sampled columns need a generator"
        drawn = sampled_columns(len(z), objective.columns, generator)
        columns = drawn.to(pi.device, non_blocking=True)  # else it waits for the device
    elif count > 1:
        columns = torch.arange(len(z), device=pi.device)
    weight = 1.0
    if columns is not None and count > 1:
        own = columns[number::count]
        columns, weight = own, len(own) / len(columns)
    conditional = weight * conditional_rate(z, pi, eps_sq=objective.eps_sq, columns=columns)
    regulariser = objective.pi_reg / 2 * pi.square().sum()
    loss = objective.gamma * conditional + (regulariser - rate) / count
    return Terms(rate, conditional, regulariser, loss)


def first_non_finite(terms: Terms) -> str | None:
    """Name of the first term that is not finite, None if all are. Waits for the device."""
    finite = torch.isfinite(torch.stack([term.detach() for term in terms])).tolist()
    return next((name for name, ok in zip(Terms._fields, finite, strict=True) if not ok), None)
