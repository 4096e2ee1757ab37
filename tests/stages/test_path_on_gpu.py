"""The whole path on a GPU. `make gpu` runs this where there is a card."""

import pytest
import torch

from cpp_pipe.store import Store

from .world import PLANNED_SLOTS, plan_of


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_step_of_the_path_runs_on_a_gpu(tmp_path, digit_shards):
    plan = plan_of(Store(tmp_path), digit_shards, device="cuda")
    made = {slot: plan.make(slot) for slot in PLANNED_SLOTS}
    assert {slot: each.manifest.made_by["device"] for slot, each in made.items()} == dict.fromkeys(
        PLANNED_SLOTS, "cuda"
    )
    rows = made["embeddings"].rows
    assert rows > 0 and made["features"].rows == made["assignments"].rows == rows
