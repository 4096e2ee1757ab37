"""How many clusters: the shortest code, or where that cannot tell, the BIC of k-means.

A cluster's code pays for every dimension of the features, so clusters of fewer rows than that make
no code shorter, however real they are. Of a hundred classes in 4,114 photographs it finds 15, and
BIC 94. Where clusters are subspaces of few dimensions, they save so much that the code is right.
Where it is not clear, communities of the graph of neighbours give a second opinion, which never
decides. `benchmarks.how_many` has all three.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from ..heads import centred_unit_rows
from .code_lengths import Ruler, explore, resampled_curves
from .communities import count_communities
from .verdict import Verdict, judge

Rule = Literal["auto", "code", "bic"]

CLEAR = 0.3
"""The share of nats that clusters save, from which the code decides by itself: planted subspaces
save 68 %, digits 36 %, three sets of photographs 14 to 21 %. Taken with these in view."""
BIC_ROWS = 5000
"""Embeddings on which BIC is measured, at most; a larger set is told by so many of them."""


@runtime_checkable
class Steps(Protocol):
    """Where it is told how far the work is."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Begins a count."""
        ...

    def advance(self, done: int, *, note: str = "") -> None:
        """Adds to it."""
        ...


class _Untold:
    def start(self, what: str, total: int, unit: str) -> None:
        pass

    def advance(self, done: int, *, note: str = "") -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A number of clusters, and all that speaks for it."""

    k: int
    """How many clusters to take."""
    rule: Literal["code", "bic"]
    """What decided."""
    verdict: Verdict
    """Of the curve of codes."""
    grid: tuple[int, ...]
    lengths: tuple[float, ...]
    """The code at each k of the grid, in nats."""
    resampled: Float[ndarray, "b grid"]
    one_cluster: float
    """The code without any clusters, in nats."""
    loose: int
    """How many of the clusters of the shortest code hold outliers alone."""
    bic: int | None
    """The k with the highest BIC, whether or not it decided; None where BIC was not measured."""
    communities: int | None
    """The second opinion; None where nobody asked for one, the code is clear, or there is none."""

    @property
    def span(self) -> tuple[int, int]:
        """From the lower to the higher of `k` and the second opinion; `k` twice without one."""
        other = self.k if self.communities is None else self.communities
        return min(self.k, other), max(self.k, other)

    @property
    def saved(self) -> float:
        """The share of nats that the shortest code saves; below 0 where it is longer."""
        return saved(min(self.lengths), self.one_cluster)


def saved(shortest: float, one_cluster: float) -> float:
    """The share of nats that clusters save over none."""
    return 1 - shortest / one_cluster if one_cluster else 0.0


def choose(
    ruler: Ruler,
    points: Float32[ndarray, "n q"],
    x: Float32[ndarray, "n d"],
    *,
    resamples: int,
    seed: int,
    grid: Sequence[int] = (),
    rule: Rule = "auto",
    clear: float = CLEAR,
    second_opinion: bool = False,
    steps: Steps | None = None,
) -> Choice:
    """Measures the curve of codes for the ruler's sample, and BIC where the rule asks for it.

    `points` and `x` are what the sample is clustered by, and its embeddings; an empty `grid` gets
    denser where the curve is low. With `auto` BIC decides where clusters save a share of the nats
    that is less than `clear`, and its own have fewer rows than features have dimensions; not where
    it is still rising at the largest k, which tells nothing.

    A `second_opinion` is the number of communities (`count_communities`), and decides nothing. It
    is left out where the code is clear: the rows of one subspace of few dimensions are many
    communities (52 for 5 planted subspaces, where the code is right).
    """
    steps = steps or _Untold()
    k_max = len(ruler.landmarks.values)
    steps.start("select-k", len(grid) or 30, "values of k")
    found = {}
    fixed = ((k, ruler.length(k)) for k in sorted(set(grid)))
    for k, length in fixed if grid else explore(ruler.length, k_max):
        found[k] = length
        steps.advance(1, note=f"k {k}: {length:,.0f} nats")
    one_cluster, highest, by_bic = ruler.length(1), None, None
    is_clear = saved(min(found.values()), one_cluster) >= clear
    if rule == "bic" or (rule == "auto" and not is_clear):
        highest = _highest_bic(x, grid, k_max, ruler.total, seed, steps)
        if rule == "bic" or (highest and _is_guide(highest, k_max, ruler)):
            by_bic = highest
    is_asked = second_opinion and not is_clear
    communities = count_communities(ruler.z, seed) if is_asked else None
    if by_bic and by_bic not in found:
        found[by_bic] = ruler.length(by_bic)
    tried = sorted(found)
    steps.start("select-k", resamples, "resampled curves")
    curves = []
    for curve in resampled_curves(ruler, points, tried, resamples, seed):
        curves.append(curve)
        steps.advance(1)
    resampled = np.array(curves, np.float64).reshape(len(curves), len(tried))
    lengths = [found[k] for k in tried]
    verdict = judge(tried, lengths, resampled)
    return Choice(
        k=by_bic or verdict.chosen,
        rule="bic" if by_bic else "code",
        verdict=verdict,
        grid=tuple(tried),
        lengths=tuple(lengths),
        resampled=resampled,
        one_cluster=one_cluster,
        loose=ruler.loose(verdict.chosen),
        bic=highest,
        communities=communities,
    )


def _is_guide(highest: int, k_max: int, ruler: Ruler) -> bool:
    """Whether BIC found a highest value, at clusters of fewer rows than a code would have seen."""
    return highest < k_max and ruler.total / highest < ruler.z.shape[1]


def _highest_bic(
    x: ndarray, grid: Sequence[int], k_max: int, total: int, seed: int, steps: Steps
) -> int | None:
    """The k with the highest BIC; None where there are too few rows for any."""
    rows = centred_unit_rows(x[np.linspace(0, len(x) - 1, min(BIC_ROWS, len(x))).astype(int)])
    most = min(k_max, len(rows) - 1)
    allowed = [k for k in sorted(set(grid)) if k <= most]
    if most < 2 or (grid and not allowed):
        return None
    steps.start("select-k: BIC of k-means", len(allowed) or 25, "values of k")
    fixed = ((k, -bic(rows, k, total=total, seed=seed)) for k in allowed)
    found = {}
    searched = explore(lambda k: -bic(rows, k, total=total, seed=seed), most)
    for k, value in fixed if grid else searched:
        found[k] = value
        steps.advance(1, note=f"k {k}")
    return min(found, key=lambda k: (found[k], k))


def bic(x: Float[ndarray, "n d"], k: int, *, total: int, seed: int) -> float:
    """BIC, in nats, of k spherical Gaussians of one variance that k-means finds; higher is better.

    As in X-means (Pelleg and Moore, 2000), with the variance of a coordinate, as it is since
    corrected. The rows' likelihood stands for that of `total` rows.
    """
    n, d = x.shape
    with warnings.catch_warnings():
        # Fewer rows that differ than clusters: some stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = KMeans(k, n_init=1, random_state=seed).fit(x)
    counts = np.bincount(fit.labels_, minlength=k)
    held = counts[counts > 0]
    variance = max(float(fit.inertia_) / (d * (n - k)), np.finfo(np.float32).tiny)
    likelihood = (held * np.log(held / n)).sum() - d / 2 * (n * np.log(2 * np.pi * variance))
    likelihood -= d * (n - k) / 2
    return float(likelihood * total / n - k * (d + 1) / 2 * np.log(total))
