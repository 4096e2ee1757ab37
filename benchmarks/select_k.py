"""Coding lengths at eight k, ours against the plain way, on planted subspaces.

    python -m benchmarks.select_k                              # 15,000 rows; the plain way at two k
    python -m benchmarks.select_k --solver lanczos --plain-ks 8
    python -m benchmarks.select_k --rows 3000

The plain way is what the paper's code does: for each k the eigenvectors of the dense membership Π
of all rows, and ten k-means of ten restarts each, of which the shortest code is kept. `full` takes
them from a whole decomposition of Π, `lanczos` from an iteration for the k leading ones, which is
the fairer rival. Π is found once for each of them. Both run at the k nearest to the true one, as
many as asked; their seconds for all eight are scaled up, and the table says so.

Ours is what the stages do from features on: landmarks, their membership and eigenvectors, places
of all rows, eight lengths. The JSON's speedups are of the stages' defaults, which keep more
eigenvectors than eight k need. Lengths are of all rows; ACC leaves out outliers, without a class.
"""

import argparse
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

from .measure import machine
from .ours import Features, Fitted
from .planted import planted

GROUPS = 20
KS = (5, 10, 15, 20, 25, 30, 40, 50)
FITS, RESTARTS = 10, 10
"""Of the paper's code: k-means for each k, and starts of each."""
EPS_SQ = SelectK().eps_sq
FEWER_LANDMARKS = (5000, 2500)


@dataclass(kw_only=True)
class Told:
    """What one way took and found."""

    seconds: float
    """For all of `KS`."""
    measured: int = len(KS)
    """Of `KS`; the seconds of the others are scaled."""
    lengths: dict[int, float] = field(default_factory=dict)
    acc: float = float("nan")
    """At the true k."""


def full(pi: torch.Tensor, k: int) -> ndarray:
    """The k leading eigenvectors, out of all."""
    return torch.linalg.eigh(pi).eigenvectors.flip(1)[:, :k].numpy()


def lanczos(pi: torch.Tensor, k: int) -> ndarray:
    """The k leading eigenvectors alone."""
    start = np.random.default_rng(0).standard_normal(len(pi))
    return eigsh(pi.numpy(), k=k, which="LA", v0=start)[1][:, ::-1]


SOLVERS: dict[str, Callable[[torch.Tensor, int], ndarray]] = {"full": full, "lanczos": lanczos}


def length_of(z: ndarray, labels: ndarray, k: int) -> float:
    """Nats of all rows."""
    rows, found = torch.from_numpy(z), torch.from_numpy(labels)
    return float(coding_length(rows, found, k, eps_sq=EPS_SQ).total)


def score(y: ndarray, labels: ndarray) -> float:
    """Accuracy over the rows that have a class."""
    return accuracy(y[y >= 0], labels[y >= 0])


def dense_membership(z: ndarray) -> tuple[torch.Tensor, float]:
    """Π of all rows, and the seconds that it takes."""
    began = time.perf_counter()
    rows = torch.from_numpy(z)
    pi = membership((rows @ rows.T).abs_(), eta=Spectrum().eta, tolerance=1e-4)
    return pi, time.perf_counter() - began


def plain(
    solver: str, pi: torch.Tensor, z: ndarray, y: ndarray, ks: Sequence[int], pi_seconds: float
) -> Told:
    """The plain way at some k."""
    told = Told(seconds=0, measured=len(ks))
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
        told.seconds += ended - began
        told.lengths[k] = best[0]
        if k == GROUPS:
            told.acc = score(y, best[1])
    told.seconds = pi_seconds + told.seconds * len(KS) / len(ks)
    return told


def ours(z: ndarray, y: ndarray, landmarks: int, k_max: int) -> Told:
    """Ours with so many landmarks; k_max = 0 takes the stage's number of eigenvectors."""
    began = time.perf_counter()
    stage = Spectrum(landmarks=landmarks, affinity="membership", k_max=k_max)
    ruler = Fitted.of(Features(z, z, z), stage, max(KS)).ruler()
    lengths = {k: ruler.length(k) for k in KS}
    seconds = time.perf_counter() - began
    return Told(seconds=seconds, lengths=lengths, acc=score(y, ruler.labels(GROUPS)))


def _row(way: str, told: Told) -> None:
    how = "measured" if told.measured == len(KS) else f"scaled from {told.measured} of {len(KS)} k"
    cells = [f"{told.lengths[k]:>10,.0f}" if k in told.lengths else f"{'-':>10}" for k in KS]
    print(f"{way:>34} {told.seconds:>9.1f} {how:>21}{''.join(cells)} {told.acc:>6.3f}", flush=True)


def _gap(one: Told, rival: Told) -> float:
    """The largest relative difference of lengths in size; below 0 where `one` is the shorter."""
    gaps = [one.lengths[k] / length - 1 for k, length in rival.lengths.items()]
    return max(gaps, key=abs)


def main() -> None:
    """Prints the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--plain-ks", type=int, default=2, help="k at which the plain way runs")
    parser.add_argument("--solver", choices=(*SOLVERS, "both"), default="both")
    parser.add_argument("--outliers", type=float, default=0.0, help="share of rows like nothing")
    asked = parser.parse_args()
    z, y = planted(GROUPS, asked.rows, outliers=asked.outliers)
    print(
        f"coding lengths of {asked.rows:,} rows at k = {', '.join(map(str, KS))}: {GROUPS} "
        f"subspaces, sizes 1 to 10, {asked.outliers:.0%} outliers\n{machine()}\n"
    )
    default = Spectrum().landmarks
    ours(z[:600], y[:600], default, 0)  # loads what later calls find loaded
    most = max(KS)
    told = {f"ours, {default:,} landmarks": ours(z, y, default, 0)}
    told[f"the same, {most} eigenvectors"] = ours(z, y, default, most)
    for count in [one for one in FEWER_LANDMARKS if one < asked.rows]:
        told[f"{count:,} landmarks, {most} eigenvectors"] = ours(z, y, count, most)
    first = next(iter(told.values()))

    ks = sorted(KS, key=lambda k: abs(np.log(k / GROUPS)))[: asked.plain_ks]
    pi, pi_seconds = dense_membership(z)
    print(f"plain, dense membership: {pi_seconds:.1f} s")
    rivals = {
        solver: plain(solver, pi, z, y, ks, pi_seconds)
        for solver in SOLVERS
        if asked.solver in (solver, "both")
    }
    told |= {f"plain, {solver}": one for solver, one in rivals.items()}
    lengths = "".join(f"{f'L({k})':>10}" for k in KS)
    print(f"\n{'way':>34} {'seconds':>9} {'':>21}{lengths} {'ACC':>6}")
    for way, one in told.items():
        _row(way, one)

    def speedup(solver: str) -> float | None:
        return round(rivals[solver].seconds / first.seconds, 2) if solver in rivals else None

    line: dict[str, Any] = {
        "speedup": speedup("full"),
        "speedup_vs_lanczos": speedup("lanczos"),
        "length_gap": round(max((_gap(first, one) for one in rivals.values()), key=abs), 5),
        "acc": round(first.acc, 4),
        "acc_plain": round(next(iter(rivals.values())).acc, 4),
        "ways": {
            way: {"seconds": round(one.seconds, 2), "acc": round(one.acc, 4)}
            for way, one in told.items()
        },
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
