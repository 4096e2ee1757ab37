"""The choice of the number of clusters: by the shortest code, or by the BIC of k-means.

A cluster's code pays for every dimension of the features, so a cluster with fewer rows than
dimensions never shortens the code, however real it is. Of a hundred classes in 4,114 photographs
the code finds 15, and BIC 94. Where clusters are subspaces of few dimensions, they save so much
that the code is right. Where the code is not clear, communities of the graph of neighbours give a
second opinion, which never decides. `benchmarks.how_many` measures all three.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray
from sklearn.cluster import KMeans

from ..heads import centred_unit_rows
from ..threads import map_in_threads
from .code_lengths import Ruler, explore, resampled_curves
from .communities import count_communities
from .convergence import ignoring_convergence
from .kmeans import first_centroids
from .verdict import Verdict, judge

Rule = Literal["auto", "code", "bic"]

CLEAR = 0.3
"""Share of nats that clusters must save for the code to decide by itself. Chosen when planted
subspaces saved 68 %, digits 36 % (those of `demo` save 48.9 % now) and three sets of photographs
14 to 21 %."""
BIC_ROWS = 5000
"""Embeddings on which BIC is measured, at most; of a larger set, a sample."""


@runtime_checkable
class Steps(Protocol):
    """Receives the progress of the work."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Begins a count of `total` units."""
        ...

    def advance(self, done: int, *, note: str = "") -> None:
        """Adds to the count."""
        ...


class _Silent:
    def start(self, what: str, total: int, unit: str) -> None:
        pass

    def advance(self, done: int, *, note: str = "") -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class KChoice:
    """A number of clusters, and the evidence for it."""

    k: int
    """The chosen number of clusters."""
    rule: Literal["code", "bic"]
    """What decided."""
    verdict: Verdict
    """Of the curve of coding lengths."""
    grid: tuple[int, ...]
    lengths: tuple[float, ...]
    """Coding length at each k of the grid, in nats."""
    resampled: Float[ndarray, "b grid"]
    """Coding lengths of b resampled curves, in nats."""
    one_cluster: float
    """Coding length of all rows as one cluster, in nats."""
    loose: int
    """Number of clusters at the shortest code that only hold outliers."""
    bic: int | None
    """The k with the highest BIC, whether or not it decided; None where BIC was not measured."""
    communities: int | None
    """The second opinion; None if it was not requested, not needed or not available."""

    @property
    def span(self) -> tuple[int, int]:
        """The lower and the higher of `k` and the second opinion; `k` twice without one."""
        other = self.k if self.communities is None else self.communities
        return min(self.k, other), max(self.k, other)

    @property
    def saved(self) -> float:
        """Share of nats that the shortest code saves; negative where it is longer."""
        return saved(min(self.lengths), self.one_cluster)


def saved(shortest: float, one_cluster: float) -> float:
    """Share of nats that clusters save over one cluster."""
    return 1 - shortest / one_cluster if one_cluster else 0.0


def choose_k(
    ruler: Ruler,
    x: Float32[ndarray, "n d"],
    *,
    resamples: int,
    seed: int,
    grid: Sequence[int] = (),
    rule: Rule = "auto",
    clear: float = CLEAR,
    second_opinion: bool = False,
    steps: Steps | None = None,
) -> KChoice:
    """Measures the curve of coding lengths on the ruler's sample, and BIC where the rule needs it.

    `x` are the sample's embeddings. An empty `grid` becomes denser where the curve is low. With
    `auto`, BIC decides where clusters save less than the share `clear` of the nats, and BIC's
    clusters have fewer rows than features have dimensions; but not if BIC still rises at the
    largest k, which is no evidence.

    The `second_opinion` is the number of communities (`count_communities`), and decides nothing. It
    is left out where the code is clear: a subspace of few dimensions holds many communities (52 for
    5 planted subspaces, where the code is right).
    """
    steps = steps or _Silent()
    k_max = len(ruler.landmarks.values)
    steps.start("select-k", len(grid) or 30, "values of k")
    length_of = {}
    given = sorted(set(grid))
    fixed = zip(given, map_in_threads(ruler.length, given), strict=True)
    for k, length in fixed if grid else explore(ruler.length, k_max):
        length_of[k] = length
        steps.advance(1, note=f"k {k}: {length:,.0f} nats")
    one_cluster, highest, by_bic = ruler.length(1), None, None
    is_clear = saved(min(length_of.values()), one_cluster) >= clear
    if rule == "bic" or (rule == "auto" and not is_clear):
        highest = _highest_bic(x, grid, k_max, ruler.total, seed, steps)
        if rule == "bic" or (highest and _is_evidence(highest, k_max, ruler)):
            by_bic = highest
    needs_opinion = second_opinion and not is_clear
    communities = count_communities(ruler.z, seed) if needs_opinion else None
    if by_bic and by_bic not in length_of:
        length_of[by_bic] = ruler.length(by_bic)
    tried = sorted(length_of)
    steps.start("select-k", resamples, "resampled curves")
    curves = []
    for curve in resampled_curves(ruler, tried, resamples, seed):
        curves.append(curve)
        steps.advance(1)
    resampled = np.array(curves, np.float64).reshape(len(curves), len(tried))
    lengths = [length_of[k] for k in tried]
    verdict = judge(tried, lengths, resampled)
    return KChoice(
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


def _is_evidence(highest: int, k_max: int, ruler: Ruler) -> bool:
    """Whether BIC has a maximum below k_max, at clusters too small for the code to see."""
    return highest < k_max and ruler.total / highest < ruler.z.shape[1]


def _highest_bic(
    x: ndarray, grid: Sequence[int], k_max: int, total: int, seed: int, steps: Steps
) -> int | None:
    """The k with the highest BIC; None where there are too few rows."""
    rows = centred_unit_rows(x[np.linspace(0, len(x) - 1, min(BIC_ROWS, len(x))).astype(int)])
    most = min(k_max, len(rows) - 1)
    allowed = [k for k in sorted(set(grid)) if k <= most]
    if most < 2 or (grid and not allowed):
        return None
    steps.start("select-k: BIC of k-means", len(allowed) or 25, "values of k")
    seeds = first_centroids(rows, max(allowed, default=most), seed)
    fixed = ((k, -bic(rows, seeds[:k], total=total)) for k in allowed)
    values = {}
    searched = explore(lambda k: -bic(rows, seeds[:k], total=total), most)
    for k, value in fixed if grid else searched:
        values[k] = value
        steps.advance(1, note=f"k {k}")
    return min(values, key=lambda k: (values[k], k))


def bic(x: Float[ndarray, "n d"], seeds: Float[ndarray, "k d"], *, total: int) -> float:
    """BIC, in nats, of k spherical Gaussians of equal variance, found by k-means; higher is better.

    As in X-means (Pelleg and Moore, 2000), with the later correction that the variance is that of
    one coordinate. The likelihood of the rows is scaled up to `total` rows. k-means starts from
    `seeds`: the first k seeds of k-means++ for more clusters are seeds for k, so that they need to
    be drawn only once.
    """
    (n, d), k = x.shape, len(seeds)
    with ignoring_convergence():
        # With fewer distinct rows than clusters, some clusters stay empty.
        fit = KMeans(k, n_init=1, init=seeds).fit(x)
    counts = np.bincount(fit.labels_, minlength=k)
    held = counts[counts > 0]
    variance = max(float(fit.inertia_) / (d * (n - k)), np.finfo(np.float32).tiny)
    likelihood = (held * np.log(held / n)).sum() - d / 2 * (n * np.log(2 * np.pi * variance))
    likelihood -= d * (n - k) / 2
    return float(likelihood * total / n - k * (d + 1) / 2 * np.log(total))
