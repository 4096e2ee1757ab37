"""Embeddings in, heads out: training on the rate-reduction objective (arXiv 2306.05272)."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..store import NumericError, Product, Scratch
from ..store.files import store_errors, written_whole
from ..store.integrity import parsing
from ..store.kinds import HEADS, Kind
from .algorithms.training_config import TrainingConfig
from .contract import Inputs, Part, Progress, Runtime, Stage
from .drawing.history import Check, write_history
from .rows.artifact_rows import gather, views_of
from .rows.streamed_rows import StreamedRows

if TYPE_CHECKING:
    import torch

    from .algorithms.early_stopping import EarlyStopping
    from .algorithms.training import Trainer

_STEPS_A_READ = 20
"""Steps between two reads of the loss terms: a read waits for the device."""

_CHECKPOINT_SECONDS = 2.0
"""Least time between two checkpoints."""

_CHECKPOINT_SHARE = 0.05
"""Largest share of the time that writing checkpoints may take."""

_GPU_SHARE = 0.5
"""Largest share of a GPU's free memory that embeddings may take."""

_TERMS = ("rate", "conditional_rate", "regulariser", "loss")


@dataclass(frozen=True, kw_only=True)
class Train(Stage, TrainingConfig):
    """Initialises a feature head and a cluster head on frozen embeddings, and can train them.

    Both start as the whitening by near neighbours, in closed form (`algorithms.whitening`). With
    `epochs` they are trained on the rate-reduction objective, and the trained heads are kept only
    if they are clearly better.
    """

    name: ClassVar[str] = "train"
    kind: ClassVar[Kind] = HEADS
    revision: ClassVar[int] = 3
    is_collective: ClassVar[bool] = True
    source: ClassVar[str] = "embeddings"
    """The slot whose rows the heads take."""

    buffer_rows: int = 0
    """For embeddings larger than memory: if there are more rows than this, each epoch reads them
    again and shuffles them in a buffer of this many. 0 holds all embeddings in memory."""

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        self._require("buffer_rows", self.buffer_rows >= 0, "a whole number of at least 0")

    @property
    def needs(self) -> tuple[str, ...]:
        """The frozen embeddings, or several views of each image."""
        return (self.source,)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Trains, from the last checkpoint if there is one, and writes the kept heads."""
        from safetensors.torch import save_file

        training = self._train(inputs, runtime, scratch.checkpoints, writes=True)
        trainer, stopping = training.trainer, training.stopping
        _report_kept(training, runtime.progress)
        stopping.restore()
        state = trainer.finish().state_dict()
        weights = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
        save_file(weights, scratch.path("weights"))
        terms = _columns(training.history[: trainer.step_number])
        checks = [
            Check(step, stability, step == stopping.kept_step)
            for step, stability in zip(stopping.steps, stopping.stabilities, strict=True)
        ]
        write_history(scratch, terms, checks, self.eta, stopping.kept_step, self.warmup_steps)
        shared = {
            "embedding_size": trainer.x.shape[1],
            "feature_size": trainer.heads.weight.shape[0],
            "kept_step": stopping.kept_step,
            "eta": self.eta,
        }
        return Product(rows=len(trainer.x), shared=shared)

    def follow(self, inputs: Inputs, runtime: Runtime, checkpoints: Path) -> None:
        """Takes the same steps as the first process."""
        self._train(inputs, runtime, checkpoints, writes=False)

    def _train(
        self, inputs: Inputs, runtime: Runtime, checkpoints: Path, *, writes: bool
    ) -> "_Training":
        import torch

        from .algorithms.early_stopping import EarlyStopping
        from .algorithms.training import Trainer

        source = inputs[self.source]
        views = views_of(source)
        # Without epochs only some rows are read, so there is no need to hold all.
        is_streamed = self.epochs == 0 or 0 < self.buffer_rows < source.rows
        if is_streamed:
            x = StreamedRows(source, self.buffer_rows, self.seed, runtime.draw)
        else:
            x = _move_if_it_fits(torch.from_numpy(gather(source)), torch.device(runtime.device))
        trainer = Trainer(x, self, torch.device(runtime.device), views)
        training = _Training(trainer, EarlyStopping(self, trainer), runtime.progress)
        if trainer.total_steps == 0:
            return training
        checkpoint = _Checkpoint(checkpoints / "training.safetensors", writes)
        if checkpoint.load(training):
            step = f"step {trainer.step_number} of {trainer.total_steps}"
            runtime.progress.report(f"train: continues at {step}")
        training.run(checkpoint)
        return training


@dataclass(frozen=True, kw_only=True)
class TrainOnViews(Train):
    """Trains on several views of each image."""

    source: ClassVar[str] = "views"


def _move_if_it_fits(x: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """The rows on the GPU if they take at most `_GPU_SHARE` of its free memory, else as given."""
    import torch

    if device.type != "cuda" or x.nbytes > _GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
        return x
    return x.to(device)


class _Training:
    """A trainer with the loss terms of its steps and its early stopping."""

    def __init__(self, trainer: "Trainer", stopping: "EarlyStopping", progress: Progress) -> None:
        import torch

        self.trainer, self.stopping, self._progress = trainer, stopping, progress
        steps = trainer.total_steps
        self.history = torch.full((steps, len(_TERMS)), float("nan"), dtype=torch.float64)

    def run(self, checkpoint: "_Checkpoint") -> None:
        """Trains to the last step, or until early stopping ends it."""
        import torch

        trainer, stopping = self.trainer, self.stopping
        self._began, self._first = time.monotonic(), trainer.step_number
        self._progress.start("train", trainer.total_steps, "steps")
        self._progress.advance(trainer.step_number)
        unread: list[torch.Tensor] = []
        while True:
            if stopping.is_due():
                self._read(unread)
                stopping.check()
            if stopping.is_over:
                break
            terms = trainer.step()
            unread.append(torch.stack([getattr(terms, name).double() for name in _TERMS]))
            if len(unread) == _STEPS_A_READ:
                self._read(unread)
                checkpoint.save_if_due(self)
        self._read(unread)
        checkpoint.save(self)

    def _read(self, unread: "list[torch.Tensor]") -> None:
        """Copies loss terms from the device into the history, and empties `unread`."""
        import torch

        if not unread:
            return
        first, last = self.trainer.step_number - len(unread), self.trainer.step_number
        self.history[first:last] = torch.stack(unread).cpu()
        _check_finite(self.history, first, self.trainer)
        rate, conditional, _, loss = self.history[last - 1].tolist()
        rows = (last - self._first) * self.trainer.batch
        speed = rows / max(1e-9, time.monotonic() - self._began)
        note = f"{speed:,.0f} rows/s, R {rate:.2f}, R_c {conditional:.2f}, loss {loss:.2f} nats"
        if self.stopping.stabilities:
            note += f", stability {self.stopping.stabilities[-1]:.3f}"
        self._progress.advance(len(unread), note=note)
        unread.clear()


def _columns(history: "torch.Tensor") -> dict[str, list[float]]:
    return dict(zip(_TERMS, history.T.tolist(), strict=True))


def _report_kept(training: _Training, progress: Progress) -> None:
    stopping, trainer = training.stopping, training.trainer
    if trainer.total_steps == 0:
        start = trainer.config.start
        progress.report(f"train: kept the initial heads ({start}); --epochs N trains them further")
        return
    if not stopping.steps:
        return
    first = stopping.stabilities[0]
    if stopping.kept_step == stopping.steps[0]:
        progress.report(
            "train: kept the initial heads: no check found clearly more stable clusters "
            f"(initially {first:.3f}) with mostly the same neighbours"
        )
    else:
        progress.report(
            f"train: kept the heads of step {stopping.kept_step} of {trainer.total_steps}, which "
            f"gave the most stable clusters ({stopping.best_stability:.3f}, initially {first:.3f})"
        )


def _check_finite(history: "torch.Tensor", first: int, trainer: "Trainer") -> None:
    from .algorithms.objective import Terms, first_non_finite

    rows = history[first : trainer.step_number]
    for step, row in enumerate(rows, start=first + 1):
        terms = Terms(*row)
        name = first_non_finite(terms)
        if name is not None:
            raise NumericError(
                f"training step {step} of {trainer.total_steps}: the {name} is "
                f"{getattr(terms, name):g}: lower --lr or raise --eta, which trains from the "
                "start; the last good checkpoint is kept"
            )


class _Checkpoint:
    """The state of a training in one file, which is replaced atomically."""

    def __init__(self, path: Path, writes: bool) -> None:
        self._path = path
        self._writes = writes
        self._last = time.monotonic()
        self._cost = 0.0

    def load(self, training: _Training) -> bool:
        """Restores a training from the last checkpoint; False if there is none.

        False also if it has other steps: several processes may have another batch than one has.
        """
        from safetensors.torch import load_file

        if not self._path.is_file():
            return False
        with parsing(self._path):
            state = load_file(self._path)
        history = state.pop("history")
        if history.shape != training.history.shape:
            return False
        training.history.copy_(history)
        training.stopping.load_state(state)
        training.trainer.load_state(state)
        return True

    def save_if_due(self, training: _Training) -> None:
        """Writes a checkpoint if the last one is old enough."""
        due = max(_CHECKPOINT_SECONDS, self._cost / _CHECKPOINT_SHARE)
        if time.monotonic() - self._last >= due:
            self.save(training)

    def save(self, training: _Training) -> None:
        """Writes a checkpoint, in the first process only."""
        from safetensors.torch import save_file

        if not self._writes:
            return
        now = time.monotonic()
        state: dict[str, Any] = {**training.trainer.state(), **training.stopping.state()}
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        with (
            store_errors(f"writing the checkpoint {self._path}"),
            written_whole(self._path) as temporary,
        ):
            save_file({**state, "history": training.history}, temporary)
        self._last = time.monotonic()
        self._cost = self._last - now
