"""Non-finite numbers end a training at once, and checkpoints continue one."""

import pytest
import torch

from cpp_pipe.stages.algorithms.early_stopping import EarlyStopping
from cpp_pipe.stages.algorithms.training import Trainer
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.contract import Silent
from cpp_pipe.stages.train import _check_finite, _Checkpoint, _Training
from cpp_pipe.store import NumericError, StoreError


def test_a_non_finite_term_is_named_with_its_step():
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    config = TrainingConfig(hidden=4, features=2, epochs=2, warmup_steps=2, eta=0.175)
    trainer = Trainer(x, config, "cpu")
    history = torch.stack([torch.stack([*trainer.step()]).double()])
    _check_finite(history, 0, trainer)
    with torch.no_grad():
        trainer.heads.subspace_skip.weight.fill_(torch.nan)
    history = torch.cat([history, torch.stack([*trainer.step()]).double()[None]])
    with pytest.raises(NumericError, match="training step 2 of 2: the rate is nan"):
        _check_finite(history, 0, trainer)


def training_of(batch: int) -> _Training:
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
    config = TrainingConfig(hidden=4, features=2, epochs=2, batch=batch, eta=0.175)
    trainer = Trainer(x, config, "cpu")
    return _Training(trainer, EarlyStopping(config, trainer), Silent())


def test_a_checkpoint_of_another_number_of_processes_begins_again(tmp_path):
    """Three processes have a batch of 3 * 2 where one has 8, and so other steps."""
    path = tmp_path / "training.safetensors"
    alone = training_of(batch=8)
    alone.trainer.step()
    _Checkpoint(path, writes=True).save(alone)
    same, other = training_of(batch=8), training_of(batch=6)
    assert _Checkpoint(path, writes=True).load(same) and same.trainer.step_number == 1
    assert not _Checkpoint(path, writes=True).load(other) and other.trainer.step_number == 0


def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "heads" / "12ab" / "checkpoints" / "training.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged" * 9)
    says = f"training.safetensors cannot be read .* remove {tmp_path / 'heads' / '12ab'} and run"
    with pytest.raises(StoreError, match=says):
        _Checkpoint(path, writes=True).load(training_of(batch=8))
