"""The code for a GPU, run on fake tensors that claim to be on one.

torch's fake tensors follow shapes, types and devices: they raise where tensors of two devices meet,
and where a number is read, for which the program would wait.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cpp_pipe.stages.algorithms.objective import Objective, terms
from cpp_pipe.stages.algorithms.rates import conditional_rate
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.algorithms.training import Trainer
from cpp_pipe.stages.algorithms.training_config import TrainingConfig

OBJECTIVE = Objective(
    eta=0.2, gamma=1.0, pi_reg=0.1, eps_sq=0.1, sinkhorn="exact", half_iterations=5, columns=0
)


class Steps(TorchDispatchMode):
    """Counts operations by name, and notes the copies between devices that would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Counter[str]()
        self.waiting: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        out = func(*args, **named)
        self.calls[func.overloadpacket._qualified_op_name] += 1
        if "_to_copy" in str(func) and args[0].device != out.device:
            self.waiting += [] if named.get("non_blocking") else [f"{args[0].shape}"]
        return out


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A GPU of 80 GB, on which tensors have no numbers."""
    card = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    with FakeTensorMode():
        yield torch.device("cuda")


@pytest.mark.parametrize("columns", [0, 5])
@pytest.mark.parametrize("sinkhorn", ["exact", "reference"])
def test_the_loss_never_waits_for_the_gpu(card: torch.device, columns: int, sinkhorn: Any) -> None:
    z = torch.empty(16, 4, device=card, requires_grad=True)
    objective = replace(OBJECTIVE, columns=columns, sinkhorn=sinkhorn)
    with Steps() as steps:
        generator = torch.Generator().manual_seed(0)
        out = terms(z, z, objective, warmup=False, generator=generator)
    assert out.loss.device.type == "cuda"
    assert steps.waiting == []


def test_of_an_epoch_only_the_order_of_rows_waits_for_the_gpu() -> None:
    settings: dict[str, Any] = {"hidden": 8, "features": 4, "batch": 8, "epochs": 1}
    trainer = Trainer(torch.empty(32, 4), TrainingConfig(**settings, start="random"), "cpu")
    with FakeTensorMode(), Steps() as steps:
        trainer.x = torch.empty(32, 4, dtype=torch.float16, device="cuda")
        trainer.device = torch.device("cuda")
        for step in range(trainer.steps_per_epoch):
            trainer.step_number = step
            batch = trainer.next_batch()
            assert batch.shape == (8, 4)
            assert batch.device.type == "cuda" and batch.dtype == torch.float32
    assert trainer.steps_per_epoch == 4
    assert steps.waiting == ["torch.Size([32])"]


def test_a_large_card_decomposes_many_matrices_at_once(card: torch.device) -> None:
    z = torch.empty(1024, 1024, device=card, requires_grad=True)
    pi = torch.empty(1024, 1024, device=card, requires_grad=True)
    with Steps() as steps:
        conditional_rate(z, pi, eps_sq=0.1)
    # Leaves of 1,024 matrices; each call takes microseconds to start, however many it decomposes.
    assert 0 < steps.calls["aten::linalg_cholesky_ex"] < 300


def test_a_membership_without_checks_reads_no_number_of_the_gpu(card: torch.device) -> None:
    similarity = torch.empty(32, 32, device=card)
    assert membership(similarity, eta=0.1, check=False).shape == (32, 32)
    with pytest.raises(RuntimeError):  # it waits for the residual
        membership(similarity, eta=0.1)
