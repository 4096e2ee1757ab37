import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cpp_pipe.stages.algorithms.training import Trainer
from cpp_pipe.stages.algorithms.training_config import TrainingConfig

WORKER = """
import json, sys
import torch.distributed as dist
from tests.stages.algorithms.test_distributed import train

dist.init_process_group("gloo")
results = [train(settings) for settings in json.loads(sys.argv[1])]
if dist.get_rank() == 0:
    print(json.dumps([{**result, "size": dist.get_world_size()} for result in results]))
dist.barrier()  # the last process would end with an abort
dist.destroy_process_group()
"""
ROOT = Path(__file__).resolve().parents[3]
SETTINGS: dict[str, dict[str, Any]] = {
    "all columns": {"columns": 0},
    "sampled columns": {"columns": 7},
    "warm-up, sgd": {
        "start": "random", "optimizer": "sgd", "lr": 0.01, "warmup_steps": 3, "columns": 0,
    },
}  # fmt: skip
SMALL = {"hidden": 24, "features": 6, "batch": 32, "epochs": 4, "eta": 0.175, "seed": 3}


def train(settings: dict[str, Any]) -> dict[str, Any]:
    """Loss terms of ten steps and the heads after them, in each of the processes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(96, 20, generator=generator), dim=1).half()
    trainer = Trainer(x, TrainingConfig(**(SMALL | settings)), "cpu")
    losses = [[float(term) for term in trainer.step()] for _ in range(10)]
    state = {k: v.double().flatten().tolist() for k, v in trainer.heads.state_dict().items()}
    return {"losses": losses, "state": state}


@pytest.fixture(scope="module")
def made_by_two() -> dict[str, dict[str, Any]]:
    """The same by two processes, which start once for all settings."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", "--no-python", sys.executable, "-c", WORKER]
    done = subprocess.run(
        [*command, json.dumps(list(SETTINGS.values()))],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.strip().splitlines()[-1])
    return dict(zip(SETTINGS, results, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_take_the_steps_of_one(
    name: str, made_by_two: dict[str, dict[str, Any]]
) -> None:
    one, two = train(SETTINGS[name]), made_by_two[name]
    assert two["size"] == 2
    for ours, theirs in zip(two["losses"], one["losses"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5)
    # Adam divides a gradient by its size: where it is nearly zero, its rounding, which differs
    # between processors, moves a weight by a share of the rate.
    for weight, values in one["state"].items():
        assert two["state"][weight] == pytest.approx(values, abs=5e-5), weight
