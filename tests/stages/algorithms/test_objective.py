from dataclasses import replace

import pytest
import torch

from cpp_pipe.stages.algorithms.objective import Objective, Terms, first_non_finite, terms
from cpp_pipe.stages.algorithms.rates import coding_rate, conditional_rate
from cpp_pipe.stages.algorithms.sinkhorn import membership, reference_membership

from ...strategies import random_unit_rows

OBJECTIVE = Objective(
    eta=0.2, gamma=0.7, pi_reg=0.3, eps_sq=0.1, sinkhorn="exact", half_iterations=5, columns=0
)


@pytest.mark.parametrize("sinkhorn", ["exact", "reference"])
def test_the_loss_is_the_sum_that_the_paper_states(sinkhorn: str) -> None:
    z, c = random_unit_rows(8, 4, 0), random_unit_rows(8, 4, 1)
    out = terms(z, c, replace(OBJECTIVE, sinkhorn=sinkhorn), warmup=False)
    make = membership if sinkhorn == "exact" else reference_membership
    pi = make((c @ c.T).abs(), eta=0.2)
    torch.testing.assert_close(out.rate, coding_rate(z, eps_sq=0.1))
    torch.testing.assert_close(out.conditional_rate, conditional_rate(z, pi, eps_sq=0.1))
    torch.testing.assert_close(out.regulariser, 0.15 * pi.square().sum())
    torch.testing.assert_close(out.loss, -out.rate + 0.7 * out.conditional_rate + out.regulariser)


def test_the_warm_up_only_uses_the_rate_of_the_features() -> None:
    z, c = random_unit_rows(8, 4, 0).requires_grad_(), random_unit_rows(8, 4, 1).requires_grad_()
    out = terms(z, c, OBJECTIVE, warmup=True)
    torch.testing.assert_close(out.loss, -coding_rate(z, eps_sq=0.1))
    out.loss.backward()
    assert z.grad is not None
    assert c.grad is None


@pytest.mark.parametrize("columns", [0, 3])
def test_the_gradient_of_the_whole_loss_passes_gradcheck(columns: int) -> None:
    objective = replace(OBJECTIVE, columns=columns)

    def loss(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        unit = torch.nn.functional.normalize
        return terms(unit(z), unit(c), objective, warmup=False, generator=generator).loss

    z, c = random_unit_rows(6, 3, 0), random_unit_rows(6, 3, 1)
    # The membership is solved to 1e-6, which limits the agreement of differences.
    assert torch.autograd.gradcheck(
        loss, (z.requires_grad_(), c.requires_grad_()), eps=1e-3, atol=1e-3, rtol=1e-3
    )


def test_sampled_columns_average_to_the_full_loss() -> None:
    z = random_unit_rows(10, 4, 0)
    full = terms(z, z, OBJECTIVE, warmup=False).conditional_rate
    generator = torch.Generator().manual_seed(0)
    sampled = replace(OBJECTIVE, columns=4)
    draws = torch.stack(
        [
            terms(z, z, sampled, warmup=False, generator=generator).conditional_rate
            for _ in range(200)
        ]
    )
    standard_error = draws.std() / 200**0.5
    assert draws.std() > 0
    assert (draws.mean() - full).abs() < 4 * standard_error


def test_the_first_non_finite_term_is_named() -> None:
    one, bad = torch.tensor(1.0), torch.tensor(torch.inf)
    assert first_non_finite(Terms(one, one, one, one)) is None
    assert first_non_finite(Terms(one, bad, one, -bad)) == "conditional_rate"
