"""Figures of the page: numbers in, one figure out of each function.

They are small, so that their text stays legible where a phone shrinks them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .contents import Curve, Space
from .theme import HEAT, LIGHT

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..view.evaluation import Decile

_WIDTH, _HEIGHT = 4.6, 3.0
"""Inches."""

_MOST_BARS = 60
"""Clusters whose sizes are drawn as bars; more make a curve."""

_MOST_NAMES = 16
"""Bars with the number of their cluster below."""

_HEAT_LEVELS = 64
"""Steps of |cosine| that are told apart: fewer bytes, and no eye sees more."""

FLOOR = 1e-3
"""Of the axis of singular values."""


def _panels(rows: int = 1, ratios: Sequence[float] = (1,)) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    panels = figure.subplots(rows, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for panel in panels:
        panel.grid(axis="y")
        panel.tick_params(length=0)
    return figure, list(panels)


def draw_curve(curve: Curve, used: int) -> "Figure":
    """Coding length by k above its least, its band, the k that are as good, and the votes.

    `used`, the number of clusters that the run has, is marked where it is not the shortest.
    """
    has_votes = any(vote is not None for vote in curve.votes)
    figure, panels = _panels(2, (3, 1)) if has_votes else _panels()
    panel = panels[0]
    _draw_lengths(panel, curve)
    if used != curve.shortest and min(curve.k) <= used <= max(curve.k):
        _mark_used(panel, curve, used)
    panel.set_ylabel("nats above the shortest")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    low, high = panel.get_ylim()
    panel.set_yticks([tick for tick in panel.get_yticks() if 0 <= tick <= high])
    panel.set_ylim(low - 0.16 * (high - low), high)  # room for the words below the curve
    if has_votes:
        _draw_votes(panels[1], curve)
    _label_k(panels[-1], curve.k)
    figure.align_ylabels(panels)
    return figure


def _draw_lengths(panel: "Axes", curve: Curve) -> None:
    least = min(curve.nats)
    for first, last in runs_of(curve.as_good) if sum(curve.as_good) > 1 else []:
        left, right = _halfway(curve.k, first, -1), _halfway(curve.k, last, 1)
        panel.axvspan(left, right, color=LIGHT["shade"], zorder=0, linewidth=0)
    band = [
        (k, low - least, high - least)
        for k, low, high in zip(curve.k, curve.low, curve.high, strict=True)
        if low is not None and high is not None
    ]
    if band:
        ks, low, high = zip(*band, strict=True)
        panel.fill_between(ks, low, high, color=LIGHT["blue"], alpha=0.22, linewidth=0)
    above = [nats - least for nats in curve.nats]
    panel.plot(curve.k, above, color=LIGHT["blue"], linewidth=1.8)
    at = curve.shortest, above[list(curve.k).index(curve.shortest)]
    panel.plot(*at, "o", color=LIGHT["orange"], markersize=7, zorder=5)
    panel.annotate(
        f"k = {curve.shortest}",
        at,
        xytext=(0, -8),
        textcoords="offset points",
        color=LIGHT["orange"],
        ha="left" if curve.shortest == min(curve.k) else "center",
        va="top",
        fontweight="bold",
    )


def _mark_used(panel: "Axes", curve: Curve, used: int) -> None:
    side = 1 if used > curve.shortest else -1  # where the shortest is not
    panel.axvline(used, color=LIGHT["muted"], linestyle=":", linewidth=1.2)
    panel.annotate(
        f"this run: {used}",
        (used, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4 * side, -2),
        textcoords="offset points",
        color=LIGHT["muted"],
        ha="left" if side > 0 else "right",
        va="top",
    )


def _draw_votes(panel: "Axes", curve: Curve) -> None:
    votes = [vote or 0.0 for vote in curve.votes]
    panel.vlines(curve.k, 0, votes, color=LIGHT["blue"], linewidth=3)
    panel.set_ylim(0, max(*votes, 0.01) * 1.1)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    panel.locator_params(axis="y", nbins=3)
    panel.set_ylabel("votes")


def _label_k(panel: "Axes", ks: Sequence[int]) -> None:
    """Round numbers below a curve over k, on a scale of ratios where k grows tenfold."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    panel.set_xlabel("k, clusters")
    if max(ks) >= 10 * min(ks):
        panel.set_xscale("log")
        steps = [step * 10**power for power in range(7) for step in (1, 2, 5)]
        panel.set_xticks([step for step in steps if min(ks) <= step <= max(ks)])
        panel.xaxis.set_minor_locator(NullLocator())
    else:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def runs_of(claims: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last place of each run of neighbours that are all true."""
    padded = [False, *claims, False]
    edges = [place for place, (one, other) in enumerate(pairwise(padded)) if one != other]
    return [(first, last - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _halfway(ks: Sequence[int], place: int, step: int) -> float:
    """Between a k and its neighbour; at the end of the curve half a cluster beyond."""
    beyond = place + step
    return (ks[place] + ks[beyond]) / 2 if 0 <= beyond < len(ks) else ks[place] + 0.5 * step


def draw_sizes(sizes: "np.ndarray", numbers: Sequence[int]) -> "Figure":
    """Rows of each cluster, largest first: bars, or a curve on a scale of ratios.

    `numbers` name the clusters in the order of the sizes.
    """
    from matplotlib.ticker import LogLocator

    figure, (panel,) = _panels()
    ranks = range(1, len(sizes) + 1)
    mean = float(sizes.mean())
    if len(sizes) <= _MOST_BARS:
        panel.bar(ranks, sizes, width=0.82, color=LIGHT["blue"])
        panel.set_xlim(0.4, max(len(sizes), 3) + 0.6)
    else:
        panel.fill_between(ranks, sizes, 0.5, color=LIGHT["blue"], alpha=0.22, linewidth=0)
        panel.plot(ranks, sizes, color=LIGHT["blue"], linewidth=1.8)
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.set_ylim(max(0.7, 0.7 * float(sizes.min())), 1.5 * float(sizes.max()))
        panel.set_xlim(1, len(sizes))
        panel.minorticks_off()
    panel.axhline(mean, color=LIGHT["orange"], linestyle="--", linewidth=1.2)
    panel.annotate(
        "equal shares",
        (1, mean),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        color=LIGHT["orange"],
        ha="right",
    )
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_ylabel("pictures")
    if len(sizes) <= _MOST_NAMES:
        panel.set_xticks(list(ranks), [str(number) for number in numbers])
        panel.set_xlabel("cluster")
    else:
        panel.set_xlabel("clusters, largest first")
    return figure


def draw_cosines(cosines: "np.ndarray", pictured: Mapping[int, int]) -> "Figure":
    """|cosine| between rows that stand cluster by cluster; `pictured` are rows by cluster."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _WIDTH * 0.93), layout="constrained")
    panel, scale = figure.subplots(1, 2, width_ratios=(24, 1))
    levels = np.round(np.clip(cosines, 0, 1) * (_HEAT_LEVELS - 1)) / (_HEAT_LEVELS - 1)
    panel.imshow(levels, cmap=HEAT, vmin=0, vmax=1, interpolation="none")
    ends = np.cumsum(list(pictured.values()))
    middles = ends - np.array(list(pictured.values())) / 2 - 0.5
    names = [str(cluster) for cluster in pictured]
    panel.set_xticks(middles, names)
    panel.set_yticks(middles, names)
    panel.set_xlabel("cluster")
    ramp = np.linspace(1, 0, _HEAT_LEVELS)[:, None]
    scale.imshow(ramp, cmap=HEAT, vmin=0, vmax=1, aspect="auto", extent=(0, 1, 0, 1))
    scale.set_xticks([])
    scale.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    scale.yaxis.tick_right()
    for axes in (panel, scale):
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def draw_singular_values(space: Space) -> "Figure":
    """Singular values over the largest: of all rows, and of the rows of each sampled cluster."""
    figure, (panel,) = _panels()
    for number, values in enumerate(space.of_cluster):
        panel.plot(
            range(1, len(values) + 1),
            values,
            color=LIGHT["blue"],
            linewidth=0.9,
            alpha=0.7,
            label=_name_clusters(len(space.of_cluster)) if number == 0 else None,
        )
    panel.plot(
        range(1, len(space.overall) + 1),
        space.overall,
        color=LIGHT["orange"],
        linewidth=2.2,
        label="all pictures",
    )
    panel.set_yscale("log")
    panel.set_ylim(FLOOR, 1.25)
    panel.set_xlim(1, max(2, len(space.overall)))
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_xlabel("singular value, largest first")
    panel.set_ylabel("share of the largest")
    panel.legend(loc="upper right")
    return figure


def _name_clusters(count: int) -> str:
    return "the largest cluster" if count == 1 else f"the {count} largest clusters"


def draw_deciles(deciles: "Sequence[Decile]") -> "Figure":
    """Accuracy and purity of each tenth of the rows, by their mean confidence."""
    figure, (panel,) = _panels()
    confidence = [one.confidence for one in deciles]
    for values, colour, marker, label in (
        ([one.purity for one in deciles], LIGHT["green"], "s", "purity"),
        ([one.accuracy for one in deciles], LIGHT["blue"], "o", "accuracy"),
    ):
        panel.plot(confidence, values, marker, color=colour, linestyle="-", label=label)
    panel.set_ylim(0, 1.05)
    panel.set_xlabel("confidence, mean of each tenth")
    panel.legend(loc="best")
    return figure


def draw_confidence(bins: "np.ndarray", bars: int = 20) -> "Figure":
    """Rows by confidence; `bins` are equal steps from 0 to 1, a multiple of the bars."""
    figure, panel = _histogram(bins.reshape(bars, -1).sum(axis=1), 1.0)
    panel.set_xlabel("confidence")
    return figure


def draw_novelty(bins: "np.ndarray", far: float) -> "Figure":
    """Rows by novelty; `bins` are equal steps from 0 to twice what is far, and all beyond last."""
    figure, panel = _histogram(bins, 2 * far)
    for bar in panel.patches[len(bins) // 2 :]:
        bar.set_facecolor(LIGHT["orange"])
    panel.axvline(far, color=LIGHT["muted"], linestyle="--", linewidth=1.2)
    panel.set_yscale("symlog", linthresh=10)
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_xticks([step * far / 2 for step in range(5)])
    panel.set_xlabel("novelty, 2 and more in the last bar")
    return figure


def _histogram(counts: "np.ndarray", end: float) -> "tuple[Figure, Axes]":
    figure, (panel,) = _panels()
    step = end / len(counts)
    left = [step * bar for bar in range(len(counts))]
    panel.bar(left, counts, width=0.9 * step, align="edge", color=LIGHT["blue"])
    panel.set_xlim(0, end)
    panel.set_ylabel("pictures")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure, panel
