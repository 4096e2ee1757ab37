"""Time of a training step and of its parts: rows, heads, membership, loss, backward, update.

    python -m benchmarks.train_step                              # sizes of the default recipe
    python -m benchmarks.train_step --shapes 512x64x256 --steps 20
    python -m benchmarks.train_step --shapes "" --imagenet       # wants a GPU

Whole steps run like in training, on rows that lie on the device, and wait for it once at the end.
Parts wait for the device after each, so their sum is the time without overlap. The forward pass of
the loss includes most of the arithmetic of its gradients, because the conditional rate computes
them in closed form with its value. The last column compares the arithmetic of the conditional rate
on packed triangles and of the heads (6 operations per sample for each product and its two
gradients) with the fastest plain product of float32 matrices on the same device.
"""

import argparse
import json
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from cpp_pipe.stages.algorithms.heads import Heads, principal_directions
from cpp_pipe.stages.algorithms.rates import coding_rate, conditional_rate, sampled_columns
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.algorithms.training import build_optimizer, train_step
from cpp_pipe.stages.algorithms.training_config import TrainingConfig

from .measure import argument_parser, machine, parse_arguments, seconds_of

SHAPES = "2048x128x1024"
EMBEDDING_SIZE = 512
SAMPLED = 128
BATCHES = 32
"""Batches of rows that are made: more than fit into the cache of a processor."""
ETA = 0.175
IMAGENET = Path(__file__).resolve().parent.parent / "configs" / "imagenet.toml"
IMAGENET_ROWS, IMAGENET_EMBEDDING_SIZE = 1_281_167, 768
MOST_STEPS_IN_PARTS = 20
PARTS = ("data", "heads", "sinkhorn", "loss", "backward", "optimiser")
NOT_COMPILED = (RuntimeError, ImportError, OSError)
"""Raised by torch.compile if the machine or the heads do not support it."""


def planted_rows(n: int, d: int, *, chunk: int = 16_384) -> Tensor:
    """Unit rows around random directions, float16, on the CPU."""
    generator = torch.Generator().manual_seed(n + d)
    centres = torch.randn(min(1000, max(2, n // 50)), d, generator=generator)
    rows = torch.empty(n, d, dtype=torch.float16)
    for part in rows.split(chunk):
        chosen = torch.randint(len(centres), (len(part),), generator=generator)
        made = centres[chosen] + 0.7 * torch.randn(len(part), d, generator=generator)
        part.copy_(torch.nn.functional.normalize(made, dim=1))
    return rows


class Training:
    """Heads at the start of training; rows stay where they are, as in training."""

    def __init__(self, x: Tensor, recipe: TrainingConfig, device: torch.device) -> None:
        self.x, self.recipe, self.device = x, recipe, device
        generator = torch.Generator().manual_seed(recipe.seed)
        self.heads = Heads(
            d=x.shape[1],
            h=recipe.hidden,
            p=recipe.features,
            shared_heads=recipe.shared_heads,
            skip=True,
            generator=generator,
        )
        # Some rows are enough here: the start is not part of a step.
        self.heads.start_from(*principal_directions(x[:16_384], recipe.features))
        self.heads.to(device).train()
        self.optimizer = build_optimizer(self.heads, recipe)
        self.order = torch.randperm(len(x), generator=generator).to(x.device)

    def batch(self, number: int) -> Tensor:
        """The rows of a step, on the device."""
        size = self.recipe.batch
        start = number % (len(self.x) // size) * size
        return self.x[self.order[start : start + size]].to(self.device, torch.float32)

    def columns(self, number: int) -> Tensor | None:
        """The columns of a step, on the device; None for all."""
        n, c = self.recipe.batch, self.recipe.columns
        if not 0 < c < n:
            return None
        drawn = sampled_columns(n, c, torch.Generator().manual_seed(number))
        return drawn.to(self.device, non_blocking=True)

    def whole(self, number: int) -> None:
        """One step like in training."""
        generator = torch.Generator().manual_seed(number)
        batch = self.batch(number)
        train_step(self.heads, self.optimizer, batch, self.recipe, number, generator=generator)

    def pieces(self, number: int) -> Iterator[str]:
        """The same step in parts; yields the name of each part when it is done."""
        batch, columns = self.batch(number), self.columns(number)
        yield "data"
        yield from self.pieces_of(batch, columns)

    def pieces_of(self, batch: Tensor, columns: Tensor | None) -> Iterator[str]:
        """A step on given rows and columns, in parts."""
        recipe = self.recipe
        z, c = self.heads(batch)
        yield "heads"
        is_cpu = self.device.type == "cpu"
        pi = membership((c @ c.mT).abs(), eta=float(recipe.eta), check=is_cpu)  # like in training
        yield "sinkhorn"
        rate = coding_rate(z, eps_sq=recipe.eps_sq)
        conditional = conditional_rate(z, pi, eps_sq=recipe.eps_sq, columns=columns)
        loss = recipe.gamma * conditional - rate + recipe.pi_reg / 2 * pi.square().sum()
        yield "loss"
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        yield "backward"
        self.optimizer.step()
        yield "optimiser"


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def whole_seconds(training: Training, steps: int) -> float:
    """Mean seconds of a whole step, after one to warm up."""
    training.whole(0)
    synchronize(training.device)
    began = time.perf_counter()
    for number in range(1, steps + 1):
        training.whole(number)
    synchronize(training.device)
    return (time.perf_counter() - began) / steps


def part_seconds(training: Training, steps: int) -> dict[str, float]:
    """Mean seconds of each part of a step, after one step to warm up."""
    for _ in training.pieces(0):
        pass
    total: Counter[str] = Counter()
    for number in range(1, steps + 1):
        synchronize(training.device)
        began = time.perf_counter()
        for name in training.pieces(number):
            synchronize(training.device)
            ended = time.perf_counter()
            total[name] += ended - began  # pyright: ignore[reportArgumentType]
            began = ended
    return {name: total[name] / steps for name in PARTS}


def compiled_seconds(training: Training, steps: int) -> float | str:
    """Mean seconds of a whole step with compiled heads, or the error of compiling them."""
    try:
        training.heads = cast(Heads, torch.compile(training.heads))
        return whole_seconds(training, steps)
    except NOT_COMPILED as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def operations(recipe: TrainingConfig, d: int) -> float:
    """Floating-point operations of a step's conditional rate and heads, gradients included."""
    n, p, h = recipe.batch, recipe.features, recipe.hidden
    c = min(n, recipe.columns or n)
    outputs = p if recipe.shared_heads else 2 * p
    packed = p * (p + 1) // 2
    return 6 * n * (c * packed + d * h + h * h + h * outputs)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allows or forbids TF32 in products of float32 matrices."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def product_rate(device: torch.device, *, allow_tf32: bool = False) -> float:
    """Operations per second of plain products of square float32 matrices, at the fastest size."""
    rates = []
    with tf32(allow_tf32):
        for size in (2048, 4096, 8192) if device.type == "cuda" else (256, 512, 1024):
            a, b = torch.randn(2, size, size, device=device)

            def multiply(a: Tensor = a, b: Tensor = b) -> None:
                torch.mm(a, b)
                synchronize(device)

            rates.append(2 * size**3 / seconds_of(multiply, repeats=5))
    return max(rates)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Device and speed that all measurements share."""

    device: torch.device
    flops_per_second: float
    """Of plain products of float32 matrices."""

    def measure(self, x: Tensor, recipe: TrainingConfig, steps: int) -> dict[str, Any]:
        """The figures of one way at one shape."""

        def start() -> Training:
            return Training(x, recipe, self.device)

        parts = part_seconds(start(), min(steps, MOST_STEPS_IN_PARTS))
        seconds, total = whole_seconds(start(), steps), sum(parts.values())
        achieved = operations(recipe, x.shape[1]) / seconds
        figures: dict[str, Any] = {
            "seconds": round(seconds, 6),
            "seconds_in_parts": round(total, 6),
            "steps_per_second": round(1 / seconds, 3),
            "rows_per_second": round(recipe.batch / seconds, 1),
            "share": {name: round(part / total, 4) for name, part in parts.items()},
            "fraction_of_matmul": round(achieved / self.flops_per_second, 4),
        }
        if self.device.type == "cuda":
            compiled = compiled_seconds(start(), min(steps, MOST_STEPS_IN_PARTS))
            key = "not_compiled" if isinstance(compiled, str) else "seconds_compiled"
            figures[key] = compiled if isinstance(compiled, str) else round(compiled, 6)
        return figures

    def measure_shape(
        self, name: str, x: Tensor, recipe: TrainingConfig, steps: int
    ) -> dict[str, dict[str, Any]]:
        """Prints and returns the figures of every way at one shape."""
        figures = {}
        for way, columns in (("exact", 0), (f"sampled {SAMPLED}", SAMPLED)):
            figures[way] = self.measure(x, replace(recipe, columns=columns), steps)
            print(row(name, way, figures[way]), flush=True)
            if self.device.type == "cuda":
                print(f"{'':>16} {'':>11}  {compiled_line(figures[way])}", flush=True)
        return figures


HEADER = (
    f"{'h x p x batch':>16} {'way':>11}"
    + "".join(f" {name:>9}" for name in PARTS)
    + f" {'sum s':>9} {'step s':>9} {'steps/s':>8} {'rows/s':>9} {'of matmul':>9}"
)


def row(name: str, way: str, figures: dict[str, Any]) -> str:
    """A line under the header."""
    return (
        f"{name:>16} {way:>11}"
        + "".join(f" {figures['share'][part]:>9.1%}" for part in PARTS)
        + f" {figures['seconds_in_parts']:>9.4f} {figures['seconds']:>9.4f}"
        + f" {figures['steps_per_second']:>8.2f} {figures['rows_per_second']:>9.0f}"
        + f" {figures['fraction_of_matmul']:>9.1%}"
    )


def compiled_line(figures: dict[str, Any]) -> str:
    """Whether compiled heads are faster."""
    if "not_compiled" in figures:
        return f"torch.compile of the heads fails: {figures['not_compiled']}"
    gain = figures["seconds"] / figures["seconds_compiled"]
    verdict = "is faster" if gain > 1 else "is not faster"
    return f"torch.compile of the heads {verdict}: {figures['seconds_compiled']:.4f} s, {gain:.2f}x"


def imagenet() -> TrainingConfig:
    """The recipe of the shipped config for ImageNet."""
    return TrainingConfig(**tomllib.loads(IMAGENET.read_text(encoding="utf-8"))["train"])


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argument_parser(__doc__)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device, type=torch.device)
    parser.add_argument("--steps", type=int, help="to measure; by default 5, for ImageNet 500")
    parser.add_argument("--shapes", default=SHAPES, help=f"h x p x batch, such as {SHAPES}")
    parser.add_argument("--imagenet", action="store_true", help="also the sizes of ImageNet")
    return parse_arguments(parser, shapes="64x16x48", steps=2)


def main() -> None:
    """Prints the table and the JSON line."""
    flags = arguments()
    device: torch.device = flags.device
    is_cuda = device.type == "cuda"
    rate = product_rate(device)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if is_cuda else str(device),
        "shapes": {},
        "matmul_flops_per_second": round(rate),
    }
    print(f"a step of training on {figures['device']}, float32\n{machine()}")
    print(f"products of float32 matrices: {rate / 1e9:.0f} GFLOP/s")
    if is_cuda:
        fast = product_rate(device, allow_tf32=True)
        figures["matmul_tf32_flops_per_second"] = round(fast)
        print(f"the same in TF32: {fast / 1e9:.0f} GFLOP/s")
    else:
        print("torch.compile of the heads: left out, only for GPUs")
    print(f"\n{HEADER}")
    bench = Bench(device=device, flops_per_second=rate)
    for shape in filter(None, flags.shapes.split(",")):
        h, p, batch = map(int, shape.split("x"))
        recipe = TrainingConfig(hidden=h, features=p, batch=batch, eta=ETA)
        x = planted_rows(BATCHES * batch, EMBEDDING_SIZE).to(device)
        figures["shapes"][shape] = bench.measure_shape(shape, x, recipe, flags.steps or 5)
    if flags.imagenet:
        recipe = imagenet()
        x = planted_rows(IMAGENET_ROWS, IMAGENET_EMBEDDING_SIZE).to(device)
        ways = bench.measure_shape("imagenet", x, recipe, flags.steps or 500)
        steps = recipe.epochs * (len(x) // recipe.batch)
        for way, measured in ways.items():
            minutes = measured["minutes_of_training"] = round(steps * measured["seconds"] / 60, 1)
            print(f"imagenet, {way}: {steps} steps take {minutes} minutes")
        figures["shapes"]["imagenet"] = ways
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
