"""Embeddings in, heads out: training on the rate-reduction objective (arXiv 2306.05272)."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..store import NumericError, Product, Scratch
from ..store.files import store_errors, sync, temporary_sibling
from ..store.kinds import HEADS, Kind, Table
from .algorithms.recipe import Recipe
from .contract import Inputs, Part, Runtime, Stage
from .gather import gather

if TYPE_CHECKING:
    import torch

    from .algorithms.training import Trainer

_LOOK_STEPS = 20
"""Steps between two looks at the numbers: a look waits for the device."""

_CHECKPOINT_SECONDS = 2.0
"""Least time between two checkpoints."""

_CHECKPOINT_SHARE = 0.05
"""Most of the time that writing checkpoints may take."""

_TERMS = ("rate", "conditional_rate", "regulariser", "loss")


@dataclass(frozen=True, kw_only=True)
class Train(Stage, Recipe):
    """Trains a feature head and a cluster head on frozen embeddings."""

    name: ClassVar[str] = "train"
    kind: ClassVar[Kind] = HEADS
    revision: ClassVar[int] = 1
    is_fit: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The frozen embeddings."""
        return ("embeddings",)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Trains to the end, from the last checkpoint where there is one."""
        import torch
        from safetensors.torch import save_file

        from .algorithms.training import Trainer

        x = torch.from_numpy(gather(inputs["embeddings"]))
        trainer = Trainer(x, self, torch.device(runtime.device))
        history = torch.full((trainer.total_steps, len(_TERMS)), float("nan"), dtype=torch.float64)
        checkpoint = _Checkpoint(scratch.checkpoints / "train.safetensors")
        if checkpoint.load(trainer, history):
            step = trainer.step_number
            runtime.progress.tell(f"train: goes on at step {step} of {trainer.total_steps}")
        runtime.progress.start("train", trainer.total_steps, "steps")
        runtime.progress.advance(trainer.step_number)
        self._train(trainer, history, checkpoint, runtime)
        state = trainer.finish().state_dict()
        save_file(
            {name: one.cpu().contiguous() for name, one in state.items()}, scratch.path("weights")
        )
        _write_history(scratch.path("history"), history, self.warmup_steps)
        return Product(rows=len(x), shared={"embedding_size": x.shape[1]})

    def _train(
        self,
        trainer: "Trainer",
        history: "torch.Tensor",
        checkpoint: "_Checkpoint",
        runtime: Runtime,
    ) -> None:
        import torch

        waiting: list[torch.Tensor] = []
        while trainer.step_number < trainer.total_steps:
            terms = trainer.step()
            waiting.append(torch.stack([getattr(terms, name).double() for name in _TERMS]))
            is_last = trainer.step_number == trainer.total_steps
            if len(waiting) == _LOOK_STEPS or is_last:
                first = trainer.step_number - len(waiting)
                history[first : trainer.step_number] = torch.stack(waiting).cpu()
                _check_finite(history, first, trainer)
                note = f"loss {history[trainer.step_number - 1, -1]:.3f} nats"
                runtime.progress.advance(len(waiting), note=note)
                waiting.clear()
                if not is_last:
                    checkpoint.save_if_due(trainer, history)


def _check_finite(history: "torch.Tensor", first: int, trainer: "Trainer") -> None:
    from .algorithms.objective import Terms, first_non_finite

    rows = history[first : trainer.step_number]
    for step, row in enumerate(rows, start=first + 1):
        terms = Terms(*row)
        name = first_non_finite(terms)
        if name is not None:
            raise NumericError(
                f"training step {step} of {trainer.total_steps}: the {name} is "
                f"{getattr(terms, name):g}; the last good checkpoint is kept, so a lower "
                "--lr or a higher --eta starts anew and leaves it untouched"
            )


class _Checkpoint:
    """All that lets a killed training go on, in one file that is replaced at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = time.monotonic()
        self._cost = 0.0

    def load(self, trainer: "Trainer", history: "torch.Tensor") -> bool:
        """Puts trainer and history where the last checkpoint left them, if there is one."""
        from safetensors.torch import load_file

        if not self._path.is_file():
            return False
        state = load_file(self._path)
        history.copy_(state.pop("history"))
        trainer.load_state(state)
        return True

    def save_if_due(self, trainer: "Trainer", history: "torch.Tensor") -> None:
        """Writes a checkpoint when the last one is long enough ago."""
        from safetensors.torch import save_file

        now = time.monotonic()
        if now - self._last < max(_CHECKPOINT_SECONDS, self._cost / _CHECKPOINT_SHARE):
            return
        state: dict[str, Any] = {
            name: tensor.detach().cpu().contiguous() for name, tensor in trainer.state().items()
        }
        with store_errors(f"writing the checkpoint {self._path}"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_sibling(self._path)
            save_file({**state, "history": history}, temporary)
            sync(temporary)
            temporary.replace(self._path)
        self._last = time.monotonic()
        self._cost = self._last - now


def _write_history(path: Path, history: "torch.Tensor", warmup_steps: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec = HEADS.files["history"]
    assert isinstance(spec, Table)
    steps = range(1, len(history) + 1)
    warm = [step <= warmup_steps for step in steps]
    rate, conditional, regulariser, loss = (column.tolist() for column in history.T)
    columns = {
        "step": list(steps),
        "is_warmup": warm,
        "rate_nats": rate,
        "conditional_rate_nats": [None if w else c for w, c in zip(warm, conditional, strict=True)],
        "regulariser": [None if w else r for w, r in zip(warm, regulariser, strict=True)],
        "loss": loss,
    }
    pq.write_table(pa.Table.from_pydict(columns, schema=spec.schema()), path)
