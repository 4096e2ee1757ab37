"""Non-finite numbers end a training at once."""

import pytest
import torch

from cpp_pipe.stages.algorithms.training import Trainer
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.train import _check_finite
from cpp_pipe.store import NumericError


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
