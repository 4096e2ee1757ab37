"""The conditional rate with its gradients, packed and sampled, against the plain direct form.

    python -m benchmarks.loss                    # all shapes; the last takes minutes on a CPU
    python -m benchmarks.loss --shapes 1024x128

Times are medians of forward and backward passes in float32 on the same inputs. Memory is the peak
of a separate process beyond its inputs. Errors are against the direct form in float64: the largest
|a − b| of an array over its largest |b|.
"""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cpp_pipe.stages.algorithms.rates import conditional_rate, sampled_columns
from cpp_pipe.stages.algorithms.sinkhorn import membership

from .measure import argument_parser, machine, parse_arguments, peak_bytes_of, seconds_of

SHAPES = ((512, 64), (1024, 128), (1500, 128), (1024, 1024))
EPS_SQ = 0.1
ETA = 0.175
SAMPLED = 128
MOST_DIRECT_NUMBERS = 600_000_000
"""Largest n·n·p, the size of the direct form's buffer, that fits into 24 GiB with all else."""


def direct(z: Tensor, pi: Tensor) -> Tensor:
    """R_c by its formula, all n matrices at once, gradients by autograd."""
    n, p = z.shape
    t = pi.sum(0) + 1e-8
    weighted = pi.T[:, :, None] * z  # (n, n, p)
    moments = weighted.mT @ z  # (n, p, p)
    scaled = torch.eye(p, dtype=z.dtype) + (p / (t * EPS_SQ))[:, None, None] * moments
    return (t * torch.logdet(scaled)).sum() / (2 * n)


def packed(z: Tensor, pi: Tensor) -> Tensor:
    """R_c as in cpp-pipe."""
    return conditional_rate(z, pi, eps_sq=EPS_SQ)


def sampled(z: Tensor, pi: Tensor) -> Tensor:
    """An unbiased estimate of R_c from some columns."""
    columns = sampled_columns(pi.shape[1], SAMPLED, torch.Generator().manual_seed(0))
    return conditional_rate(z, pi, eps_sq=EPS_SQ, columns=columns)


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "direct": direct,
    "packed": packed,
    f"sampled {SAMPLED}": sampled,
}


def inputs(n: int, p: int) -> tuple[Tensor, Tensor]:
    """Unit rows around n/50 random directions, and their membership, float32."""
    generator = torch.Generator().manual_seed(n + p)
    centres = torch.randn(max(2, n // 50), p, generator=generator)
    chosen = torch.randint(len(centres), (n,), generator=generator)
    rows = centres[chosen] + 0.7 * torch.randn(n, p, generator=generator)
    z = torch.nn.functional.normalize(rows, dim=1)
    pi = membership((z @ z.T).abs(), eta=ETA)
    return z.requires_grad_(), pi.detach().requires_grad_()


def gradients(way: str, z: Tensor, pi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value and both gradients."""
    value = WAYS[way](z, pi)
    grad_z, grad_pi = torch.autograd.grad(value, (z, pi))
    return value.detach(), grad_z, grad_pi


def prepare(way: str, n: int, p: int) -> Callable[[], Any]:
    """One pass with its inputs made, to measure its memory."""
    z, pi = inputs(n, p)
    return lambda: gradients(way, z, pi)


def error(way: str, z: Tensor, pi: Tensor, truth: tuple[Tensor, ...]) -> float:
    """Largest relative error of the value and both gradients."""
    arrays = gradients(way, z, pi)
    return max(
        float((array.double() - exact).abs().max() / exact.abs().max())
        for array, exact in zip(arrays, truth, strict=True)
    )


def main() -> None:
    """Prints the table and the JSON line."""
    parser = argument_parser(__doc__)
    all_shapes = ",".join(f"{n}x{p}" for n, p in SHAPES)
    parser.add_argument("--shapes", default=all_shapes, help=f"n x p, such as {all_shapes}")
    shapes = parse_arguments(parser, shapes="192x8").shapes.split(",")
    print(f"conditional rate, value and gradients, float32\n{machine()}\n")
    print(f"{'n x p':>12} {'way':>12} {'seconds':>9} {'speedup':>8} {'peak MiB':>9} {'error':>9}")
    speedup: dict[str, dict[str, float]] = {}
    memory: dict[str, float] = {}
    worst = 0.0
    for shape in shapes:
        n, p = map(int, shape.split("x"))
        z, pi = inputs(n, p)
        fits = n * n * p <= MOST_DIRECT_NUMBERS
        truth = None
        if fits:
            exact_z, exact_pi = (x.detach().double().requires_grad_() for x in (z, pi))
            truth = gradients("direct", exact_z, exact_pi)
        seconds, peak = {}, {}
        for way in WAYS:
            if way == "direct" and not fits:
                print(f"{shape:>12} {way:>12}  its buffer of n²p numbers does not fit")
                continue
            repeats = 1 if p > 512 else 3
            seconds[way] = seconds_of(lambda way=way: gradients(way, z, pi), repeats=repeats)  # noqa: B023
            peak[way] = peak_bytes_of(prepare, way, n, p)
            wrong = None
            if truth is not None and way == "packed":
                wrong = error(way, z, pi, truth)
                worst = max(worst, wrong)
            gain = seconds["direct"] / seconds[way] if "direct" in seconds else None
            print(
                f"{shape:>12} {way:>12} {seconds[way]:>9.3f} "
                f"{'-' if gain is None else f'{gain:.1f}x':>8} {peak[way] / 2**20:>9.0f} "
                f"{'-' if wrong is None else f'{wrong:.1e}':>9}",
                flush=True,
            )
            if gain is not None and way != "direct":
                speedup.setdefault(shape, {})[way] = round(gain, 2)
        if fits:
            memory[shape] = round(peak["packed"] / peak["direct"], 3)
    print(json.dumps({"speedup": speedup, "memory_ratio": memory, "max_rel_error": worst}))


if __name__ == "__main__":
    main()
