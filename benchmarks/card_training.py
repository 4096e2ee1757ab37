"""Parts of `benchmarks.gpu`: training steps, their arithmetic, graphs and errors."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from cpp_pipe.stages.algorithms.heads import Heads
from cpp_pipe.stages.algorithms.objective import terms
from cpp_pipe.stages.algorithms.symmetric import Triangle, log_determinant
from cpp_pipe.stages.algorithms.training import Trainer
from cpp_pipe.stages.algorithms.training_config import TrainingConfig

from .card import Figure, Setup
from .loss import EPS_SQ, inputs
from .measure import seconds_of
from .train_step import (
    BATCHES,
    EMBEDDING_SIZE,
    ETA,
    IMAGENET_EMBEDDING_SIZE,
    IMAGENET_ROWS,
    SAMPLED,
    Training,
    imagenet,
    operations,
    planted_rows,
    product_rate,
    synchronize,
    tf32,
    whole_seconds,
)

SHARE_OF_PRODUCTS = 0.5
"""Bar: of the rate of plain products that a step reaches."""
WARM_UP = 3
"""Steps before a graph is captured, or before steps are timed."""


def _recipe(setup: Setup) -> TrainingConfig:
    """As many features as rows in a batch, the most costly for the conditional rate."""
    hidden, size = (32, 24) if setup.is_tiny else (2048, 1024)
    return TrainingConfig(
        hidden=hidden, features=size, batch=size, eta=ETA, columns=0, start="principal"
    )


def _ways(recipe: TrainingConfig) -> list[tuple[str, TrainingConfig]]:
    sampled = min(SAMPLED, recipe.batch // 2)
    return [("all columns", recipe), (f"{sampled} columns", replace(recipe, columns=sampled))]


def _rows(setup: Setup, recipe: TrainingConfig) -> Tensor:
    count = 2 if setup.is_tiny else BATCHES
    return planted_rows(count * recipe.batch, EMBEDDING_SIZE).to(setup.device)


def needed_operations(recipe: TrainingConfig, d: int) -> float:
    """Floating-point operations that a step cannot do without.

    To those of `train_step.operations` come p³ for the determinant and the inverse of each column's
    matrix, by Cholesky, which matter where p is as large as n.
    """
    columns = min(recipe.batch, recipe.columns or recipe.batch)
    return operations(recipe, d) + columns * recipe.features**3


def training(setup: Setup) -> Iterator[Figure]:
    """A step of 1,024 rows and 1,024 features, against plain products of matrices."""
    device, steps = torch.device(setup.device), 2 if setup.is_tiny else 5
    rate = product_rate(device)
    yield Figure(name="products of float32 matrices", value=rate / 1e12, unit="TFLOP/s")
    fast = product_rate(device, allow_tf32=True)
    yield Figure(name="the same in TF32", value=fast / 1e12, unit="TFLOP/s")
    recipe = _recipe(setup)
    x = _rows(setup, recipe)
    for way, chosen in _ways(recipe):
        seconds = whole_seconds(Training(x, chosen, device), steps)
        share = needed_operations(chosen, x.shape[1]) / seconds / rate
        yield Figure(name=f"a step, {way}", value=1e3 * seconds, unit="ms")
        yield Figure(
            name=f"of the products' rate, {way}",
            value=share,
            bar=None if chosen.columns else SHARE_OF_PRODUCTS,
            note="float32; products and inverses that the step needs",
        )


def precisions(setup: Setup) -> Iterator[Figure]:
    """Time of a pass in float32, TF32 and bfloat16, and its errors against float64."""
    device, recipe = torch.device(setup.device), _recipe(setup)
    _, sampled = _ways(recipe)[1]
    run = Training(_rows(setup, recipe), sampled, device)
    batch = run.batch(0)
    with _full():
        truth = _loss_and_gradient(deepcopy(run.heads).double(), batch.double(), sampled)

    for name, mode in (("float32", _full), ("TF32", _tf32), ("bfloat16", _bf16)):

        def step(
            mode: Callable[..., contextlib.AbstractContextManager[None]] = mode,
        ) -> list[Tensor]:
            made = _loss_and_gradient(run.heads, batch, sampled, lambda: mode(device))
            synchronize(device)
            return made

        seconds = seconds_of(step, repeats=3)
        loss, gradient = _errors(step(), truth)
        note = f"relative errors: loss {loss:.1e}, gradient {gradient:.1e}"
        yield Figure(name=f"loss and gradient, {name}", value=1e3 * seconds, unit="ms", note=note)
    yield from _rate_products(device, recipe)


def _full(device: torch.device | None = None) -> contextlib.AbstractContextManager[None]:
    return tf32(False)


def _tf32(device: torch.device) -> contextlib.AbstractContextManager[None]:
    return tf32(True)


@contextlib.contextmanager
def _bf16(device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, torch.bfloat16):
        yield


def _loss_and_gradient(
    heads: Heads,
    batch: Tensor,
    recipe: TrainingConfig,
    mode: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> list[Tensor]:
    """The loss of a batch and the gradients of all parameters; only the heads run in the mode."""
    with mode():
        z, c = heads(batch)
    if z.dtype == torch.bfloat16:
        z, c = z.float(), c.float()
    generator = torch.Generator().manual_seed(0)
    loss = terms(z, c, recipe.objective, warmup=False, generator=generator).loss
    return [loss.detach(), *torch.autograd.grad(loss, list(heads.parameters()))]


def _errors(found: Sequence[Tensor], truth: Sequence[Tensor]) -> tuple[float, float]:
    """Relative errors of the loss, and of all gradients as one vector."""
    loss, *gradients = (each.double() for each in found)
    true_loss, *true_gradients = truth
    wrong = sum((a - b).square().sum() for a, b in zip(gradients, true_gradients, strict=True))
    length = sum(b.square().sum() for b in true_gradients)
    return float((loss - true_loss).abs() / true_loss.abs()), float((wrong / length) ** 0.5)


def _rate_products(device: torch.device, recipe: TrainingConfig) -> Iterator[Figure]:
    """The product that makes the second moments of columns, and the error of the rate with it.

    cpp-pipe always takes float32 here; the others say what it would cost and save.
    """
    n, p = recipe.batch, recipe.features
    z, pi = (each.detach().to(device) for each in inputs(n, p))
    pi = pi[:, : min(SAMPLED, n)]
    triangle = Triangle(p, device)

    def rate_with(product: Callable[[Tensor, Tensor], Tensor], z: Tensor, pi: Tensor) -> Tensor:
        sizes = pi.sum(0)
        a = triangle.unpack(product(pi.mT, triangle.pack_outer(z))).double()
        a.mul_((p / (sizes.double() * EPS_SQ))[:, None, None])
        a.diagonal(dim1=1, dim2=2).add_(1)
        return (sizes * log_determinant(a)).sum() / (2 * n)

    def coarse(a: Tensor, b: Tensor) -> Tensor:
        return (a.bfloat16() @ b.bfloat16()).to(a.dtype)

    truth = rate_with(torch.mm, z.double(), pi.double())
    outer = triangle.pack_outer(z)
    flops = 2 * outer.numel() * pi.shape[1]
    for name, allowed, product in (
        ("float32", False, torch.mm),
        ("TF32", True, torch.mm),
        ("bfloat16", False, coarse),
    ):
        with tf32(allowed):

            def multiply(product: Callable[[Tensor, Tensor], Tensor] = product) -> None:
                product(pi.mT, outer)
                synchronize(device)

            seconds = seconds_of(multiply, repeats=5)
            error = float((rate_with(product, z, pi) - truth).abs() / truth)
        note = f"relative error of R_c {error:.1e}"
        value = flops / seconds / 1e12
        yield Figure(name=f"moments of R_c, {name}", value=value, unit="TFLOP/s", note=note)


def graphs(setup: Setup) -> Iterator[Figure]:
    """The same steps captured as CUDA graphs, which start all of a step's work at once."""
    if not setup.is_gpu:
        yield Figure(name="steps as CUDA graphs", note="left out: only on a GPU")
        return
    device, recipe = torch.device(setup.device), _recipe(setup)
    x = _rows(setup, recipe)
    for way, chosen in _ways(recipe):
        plain = whole_seconds(Training(x, chosen, device), 5)
        try:
            captured = Captured(Training(x, chosen, device))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            yield Figure(name=f"a graph, {way}", note=f"cannot be captured: {reason}")
            return  # CUDA may refuse all further work
        seconds = whole_seconds(captured, 5)
        note = f"{plain / seconds:.2f} times as fast as without a graph"
        yield Figure(name=f"a step as a graph, {way}", value=1e3 * seconds, unit="ms", note=note)


class Captured(Training):
    """Steps of a training as one CUDA graph, which reads batch and columns from fixed places."""

    def __init__(self, training: Training) -> None:
        vars(self).update(vars(training))
        for group in self.optimizer.param_groups:
            group["capturable"] = True  # its count of steps lies on the GPU
        self._batch = self.batch(0).clone()
        columns = self.columns(0)
        self._columns = None if columns is None else columns.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.empty_cache()  # a graph has memory of its own
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()

    def whole(self, number: int) -> None:
        """One step, replayed."""
        self._batch.copy_(self.batch(number))
        columns = self.columns(number)
        if self._columns is not None and columns is not None:
            self._columns.copy_(columns)
        self._graph.replay()

    def _step(self) -> None:
        for _ in self.pieces_of(self._batch, self._columns):
            pass


def imagenet_steps(setup: Setup) -> Iterator[Figure]:
    """Steps of the shipped recipe for ImageNet, by the trainer of `cpp-pipe train`."""
    device, recipe = torch.device(setup.device), imagenet()
    rows, steps = IMAGENET_ROWS, 500
    if setup.is_tiny:
        rows, steps = 400, 3
        recipe = replace(recipe, hidden=16, features=8, batch=32)
    x = planted_rows(rows, IMAGENET_EMBEDDING_SIZE).to(device)
    began = time.perf_counter()
    trainer = Trainer(x, recipe, device)
    synchronize(device)
    yield Figure(name="the heads' start", value=time.perf_counter() - began, unit="s")
    for _ in range(WARM_UP):
        trainer.step()
    synchronize(device)
    began = time.perf_counter()
    done = 0
    loss = torch.zeros(())
    # Steps are started ahead of the GPU, so the time is only looked at now and then.
    while done < steps and setup.seconds_left > 5:
        for _ in range(min(20, steps - done)):
            loss = trainer.step().loss
            done += 1
        synchronize(device)
    seconds = (time.perf_counter() - began) / max(1, done)
    if not torch.isfinite(loss):
        raise ArithmeticError(f"the loss after {done} steps is {float(loss)}")
    h, p, n = recipe.hidden, recipe.features, recipe.batch
    minutes = trainer.total_steps * seconds / 60
    yield Figure(
        name=f"{done} steps, {h} x {p} x {n}",
        value=1 / seconds,
        unit="steps/s",
        note=f"{n / seconds:,.0f} rows/s; all {trainer.total_steps:,} steps: {minutes:.1f} minutes",
    )
