"""Coding lengths at eight k, on planted subspaces: ours against the plain way.

    python -m benchmarks.select_k                              # 15,000 rows; the plain way at two k
    python -m benchmarks.select_k --solver lanczos --plain-ks 8
    python -m benchmarks.select_k --rows 3000

The plain way is that of the paper's code: for each k, the eigenvectors of the dense membership Π of
all rows, and ten k-means of ten restarts, of which the shortest code is kept. `full` decomposes the
whole Π; `lanczos` iterates for the k leading eigenvectors, which is the fairer rival. Π is computed
once. Both run at the `--plain-ks` k nearest to the true one; their seconds are scaled up to all
eight, and the table says so.

Ours runs the stages from features on: landmarks, their membership and eigenvectors, places of all
rows, eight lengths. The speedups in the JSON are those of the default settings, which keep more
eigenvectors than eight k need. Lengths include all rows; ACC leaves out outliers.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans

from cpp_pipe.stages.algorithms.clustering.spectral import spectral_rows
from cpp_pipe.stages.algorithms.coding_length import coding_length
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.algorithms.sinkhorn import membership
from cpp_pipe.stages.select_k import SelectK
from cpp_pipe.stages.spectrum import Spectrum

from .measure import argument_parser, machine, parse_arguments
from .ours import Features, Fitted
from .planted import planted

GROUPS = 20
KS = (5, 10, 15, 20, 25, 30, 40, 50)
FITS, RESTARTS = 10, 10
"""k-means for each k, and restarts of each, in the paper's code."""
EPS_SQ = SelectK().eps_sq
FEWER_LANDMARKS = (5000, 2500)


@dataclass(kw_only=True)
class Measured:
    """Seconds and lengths of one way."""

    seconds: float
    """For all of `KS`."""
    measured: int = len(KS)
    """How many of `KS` ran; the seconds are scaled up to all."""
    lengths: dict[int, float] = field(default_factory=dict)
    acc: float = float("nan")
    """At the true k."""


def full(pi: torch.Tensor, k: int) -> ndarray:
    """The k leading eigenvectors, by a whole decomposition."""
    return torch.linalg.eigh(pi).eigenvectors.flip(1)[:, :k].numpy()


def lanczos(pi: torch.Tensor, k: int) -> ndarray:
    """The k leading eigenvectors, by Lanczos iterations."""
    start = np.random.default_rng(0).standard_normal(len(pi))
    return eigsh(pi.numpy(), k=k, which="LA", v0=start)[1][:, ::-1]


SOLVERS: dict[str, Callable[[torch.Tensor, int], ndarray]] = {"full": full, "lanczos": lanczos}


def length_of(z: ndarray, labels: ndarray, k: int) -> float:
    """Coding length of all rows in nats."""
    length = coding_length(torch.from_numpy(z), torch.from_numpy(labels), k, eps_sq=EPS_SQ)
    return float(length.total)


def score(y: ndarray, labels: ndarray) -> float:
    """Accuracy over the rows that are not outliers."""
    return accuracy(y[y >= 0], labels[y >= 0])


def dense_membership(z: ndarray) -> tuple[torch.Tensor, float]:
    """Π of all rows, and its seconds."""
    began = time.perf_counter()
    rows = torch.from_numpy(z)
    pi = membership((rows @ rows.T).abs_(), eta=Spectrum().eta, tolerance=1e-4)
    return pi, time.perf_counter() - began


def plain(
    solver: str, pi: torch.Tensor, z: ndarray, y: ndarray, ks: Sequence[int], pi_seconds: float
) -> Measured:
    """The plain way at some k."""
    way = Measured(seconds=0, measured=len(ks))
    for k in ks:
        began = time.perf_counter()
        rows = spectral_rows(SOLVERS[solver](pi, k), k)
        solved = time.perf_counter()
        best: tuple[float, ndarray] | None = None
        for fit in range(FITS):
            model = KMeans(k, n_init=RESTARTS, random_state=fit)
            labels = model.fit_predict(rows).astype(np.int64)
            length = length_of(z, labels, k)
            if best is None or length < best[0]:
                best = length, labels
        assert best is not None
        ended = time.perf_counter()
        print(
            f"plain, {solver}, k = {k}: {solved - began:.1f} s for eigenvectors, "
            f"{ended - solved:.1f} s for {FITS} k-means and their codes",
            flush=True,
        )
        way.seconds += ended - began
        way.lengths[k] = best[0]
        if k == GROUPS:
            way.acc = score(y, best[1])
    way.seconds = pi_seconds + way.seconds * len(KS) / len(ks)
    return way


def ours(z: ndarray, y: ndarray, landmarks: int, k_max: int) -> Measured:
    """Our way; with k_max = 0 the stage chooses the number of eigenvectors."""
    began = time.perf_counter()
    stage = Spectrum(landmarks=landmarks, affinity="membership", k_max=k_max)
    ruler = Fitted.of(Features(z, z, z), stage, max(KS)).ruler()
    lengths = {k: ruler.length(k) for k in KS}
    seconds = time.perf_counter() - began
    return Measured(seconds=seconds, lengths=lengths, acc=score(y, ruler.labels(GROUPS)))


def _print_row(name: str, way: Measured) -> None:
    how = "measured" if way.measured == len(KS) else f"scaled from {way.measured} of {len(KS)} k"
    cells = [f"{way.lengths[k]:>10,.0f}" if k in way.lengths else f"{'-':>10}" for k in KS]
    print(f"{name:>34} {way.seconds:>9.1f} {how:>21}{''.join(cells)} {way.acc:>6.3f}", flush=True)


def _gap(way: Measured, rival: Measured) -> float:
    """The relative difference of lengths that is largest in size; negative if `way` is shorter."""
    gaps = [way.lengths[k] / length - 1 for k, length in rival.lengths.items()]
    return max(gaps, key=abs)


def main() -> None:
    """Prints the table and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--plain-ks", type=int, default=2, help="number of k for the plain way")
    parser.add_argument("--solver", choices=(*SOLVERS, "both"), default="both")
    parser.add_argument("--outliers", type=float, default=0.0, help="share of the rows")
    arguments = parse_arguments(parser, rows=700, plain_ks=1)
    z, y = planted(GROUPS, arguments.rows, outliers=arguments.outliers)
    print(
        f"coding lengths of {arguments.rows:,} rows at k = {', '.join(map(str, KS))}: {GROUPS} "
        f"subspaces, sizes 1 to 10, {arguments.outliers:.0%} outliers\n{machine()}\n"
    )
    default = Spectrum().landmarks
    ours(z[:600], y[:600], default, 0)  # to warm up
    most = max(KS)
    ways = {f"ours, {default:,} landmarks": ours(z, y, default, 0)}
    ways[f"the same, {most} eigenvectors"] = ours(z, y, default, most)
    for landmarks in [count for count in FEWER_LANDMARKS if count < arguments.rows]:
        ways[f"{landmarks:,} landmarks, {most} eigenvectors"] = ours(z, y, landmarks, most)
    first = next(iter(ways.values()))

    ks = sorted(KS, key=lambda k: abs(np.log(k / GROUPS)))[: arguments.plain_ks]
    pi, pi_seconds = dense_membership(z)
    print(f"plain, dense membership: {pi_seconds:.1f} s")
    rivals = {
        solver: plain(solver, pi, z, y, ks, pi_seconds)
        for solver in SOLVERS
        if arguments.solver in (solver, "both")
    }
    ways |= {f"plain, {solver}": rival for solver, rival in rivals.items()}
    lengths = "".join(f"{f'L({k})':>10}" for k in KS)
    print(f"\n{'way':>34} {'seconds':>9} {'':>21}{lengths} {'ACC':>6}")
    for name, way in ways.items():
        _print_row(name, way)

    def speedup(solver: str) -> float | None:
        return round(rivals[solver].seconds / first.seconds, 2) if solver in rivals else None

    figures: dict[str, Any] = {
        "speedup": speedup("full"),
        "speedup_vs_lanczos": speedup("lanczos"),
        "length_gap": round(max((_gap(first, rival) for rival in rivals.values()), key=abs), 5),
        "acc": round(first.acc, 4),
        "acc_plain": round(next(iter(rivals.values())).acc, 4),
        "ways": {
            name: {"seconds": round(way.seconds, 2), "acc": round(way.acc, 4)}
            for name, way in ways.items()
        },
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
