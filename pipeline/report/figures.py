"""Figures of the report, one a function.

They are small, so that their text stays legible where a phone shrinks them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..view.curve import KCurve
from ..view.evaluation import Decile
from .contents import Space
from .theme import HEAT, LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 4.6, 3.0
"""Inches."""

_MOST_BARS = 60
"""Clusters drawn as bars; more are drawn as a curve."""

_MOST_NAMES = 16
"""Bars labelled with the number of their cluster; more are not labelled."""

_HEAT_LEVELS = 64
"""Steps of |cosine|: no eye sees more, and fewer take fewer bytes."""

FLOOR = 1e-3
"""Where the axis of singular values ends."""


def _panels(rows: int = 1, ratios: Sequence[float] = (1,)) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    panels = figure.subplots(rows, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for panel in panels:
        panel.grid(axis="y")
        panel.tick_params(length=0)
    return figure, list(panels)


def draw_curve(curve: KCurve, used: int) -> "Figure":
    """Coding length by k above the shortest, with its band, the k that are as good, and the votes.

    The chosen k is marked, and so is `used`, the number of clusters in the run, if it is another.
    """
    has_votes = any(point.votes is not None for point in curve.points)
    figure, panels = _panels(2, (3, 1)) if has_votes else _panels()
    panel = panels[0]
    ks = [point.k for point in curve.points]
    _draw_lengths(panel, curve)
    if used != curve.chosen.k and min(ks) <= used <= max(ks):
        _mark_used(panel, curve, used)
    panel.set_ylabel("nats above the shortest")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    low, high = panel.get_ylim()
    panel.set_yticks([tick for tick in panel.get_yticks() if 0 <= tick <= high])
    panel.set_ylim(low - 0.16 * (high - low), high)  # room for the words below the curve
    if has_votes:
        _draw_votes(panels[1], curve)
    _label_k(panels[-1], ks)
    figure.align_ylabels(panels)
    return figure


def _draw_lengths(panel: "Axes", curve: KCurve) -> None:
    ks = [point.k for point in curve.points]
    least = min(point.nats for point in curve.points)
    is_as_good = [point.is_as_good for point in curve.points]
    for first, last in find_runs(is_as_good) if sum(is_as_good) > 1 else []:
        left, right = _halfway(ks, first, -1), _halfway(ks, last, 1)
        panel.axvspan(left, right, color=LIGHT["shade"], zorder=0, linewidth=0)
    band = [
        (point.k, point.low - least, point.high - least)
        for point in curve.points
        if point.low is not None and point.high is not None
    ]
    if band:
        band_ks, low, high = zip(*band, strict=True)
        panel.fill_between(band_ks, low, high, color=LIGHT["blue"], alpha=0.22, linewidth=0)
    panel.plot(
        ks, [point.nats - least for point in curve.points], color=LIGHT["blue"], linewidth=1.8
    )
    chosen = curve.chosen
    place = chosen.k, chosen.nats - least
    panel.plot(*place, "o", color=LIGHT["orange"], markersize=7, zorder=5)
    panel.annotate(
        f"k = {chosen.k}",
        place,
        xytext=(0, -8),
        textcoords="offset points",
        color=LIGHT["orange"],
        ha="left" if chosen.k == min(ks) else "center",
        va="top",
        fontweight="bold",
    )


def _mark_used(panel: "Axes", curve: KCurve, used: int) -> None:
    side = 1 if used > curve.chosen.k else -1  # away from the chosen
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


def _draw_votes(panel: "Axes", curve: KCurve) -> None:
    votes = [point.votes or 0.0 for point in curve.points]
    panel.vlines([point.k for point in curve.points], 0, votes, color=LIGHT["blue"], linewidth=3)
    panel.set_ylim(0, max(*votes, 0.01) * 1.1)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    panel.locator_params(axis="y", nbins=3)
    panel.set_ylabel("votes")


def _label_k(panel: "Axes", ks: Sequence[int]) -> None:
    """Round numbers below a curve over k; the scale is logarithmic if k grows tenfold."""
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


def find_runs(claims: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last place of each run of neighbours that are all true."""
    padded = [False, *claims, False]
    edges = [place for place, (left, right) in enumerate(pairwise(padded)) if left != right]
    return [(first, last - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _halfway(ks: Sequence[int], place: int, step: int) -> float:
    """Halfway from a k to its neighbour; half a cluster beyond the end of the curve."""
    beyond = place + step
    return (ks[place] + ks[beyond]) / 2 if 0 <= beyond < len(ks) else ks[place] + 0.5 * step


def draw_sizes(sizes: np.ndarray, numbers: Sequence[int]) -> "Figure":
    """Rows of each cluster, largest first: bars, or a curve on a logarithmic scale.

    `numbers` are the clusters in the order of the sizes.
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
        "mean",
        (1, mean),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        color=LIGHT["orange"],
        ha="right",
    )
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_ylabel("images")
    if len(sizes) <= _MOST_NAMES:
        panel.set_xticks(list(ranks), [str(number) for number in numbers])
        panel.set_xlabel("cluster")
    else:
        panel.set_xlabel("clusters, largest first")
    return figure


def draw_cosines(cosines: np.ndarray, row_counts: Mapping[int, int]) -> "Figure":
    """|cosine| between rows, cluster by cluster; `row_counts` are how many rows each has."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _WIDTH * 0.93), layout="constrained")
    panel, scale = figure.subplots(1, 2, width_ratios=(24, 1))
    levels = np.round(np.clip(cosines, 0, 1) * (_HEAT_LEVELS - 1)) / (_HEAT_LEVELS - 1)
    panel.imshow(levels, cmap=HEAT, vmin=0, vmax=1, interpolation="none")
    ends = np.cumsum(list(row_counts.values()))
    middles = ends - np.array(list(row_counts.values())) / 2 - 0.5
    names = [str(cluster) for cluster in row_counts]
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
    """Singular values over the largest, of all rows and of each sampled cluster."""
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
        label="all images",
    )
    panel.set_yscale("log")
    panel.set_ylim(FLOOR, 1.25)
    panel.set_xlim(1, max(2, len(space.overall)))
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_xlabel("singular value, largest first")
    panel.set_ylabel("share of the largest")
    panel.legend(loc="best")
    return figure


def _name_clusters(count: int) -> str:
    return "the largest cluster" if count == 1 else f"the {count} largest clusters"


def draw_deciles(deciles: Sequence[Decile]) -> "Figure":
    """Accuracy and purity of each tenth of the rows, by their mean confidence."""
    figure, (panel,) = _panels()
    confidence = [decile.confidence for decile in deciles]
    for values, colour, marker, label in (
        ([decile.purity for decile in deciles], LIGHT["green"], "s", "purity"),
        ([decile.accuracy for decile in deciles], LIGHT["blue"], "o", "accuracy"),
    ):
        panel.plot(confidence, values, marker, color=colour, linestyle="-", label=label)
    panel.set_ylim(0, 1.05)
    panel.set_xlabel("confidence, mean of each tenth")
    panel.legend(loc="best")
    return figure


def draw_confidence(bins: np.ndarray, bars: int = 20) -> "Figure":
    """Rows by confidence; `bins` count them in equal steps from 0 to 1, several to a bar."""
    figure, panel = _histogram(bins.reshape(bars, -1).sum(axis=1), 1.0)
    panel.set_xlabel("confidence")
    return figure


def draw_novelty(bins: np.ndarray, far: float) -> "Figure":
    """Rows by novelty; `bins` are equal steps from 0 to twice `far`, the last with all beyond."""
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


def _histogram(counts: np.ndarray, end: float) -> "tuple[Figure, Axes]":
    figure, (panel,) = _panels()
    step = end / len(counts)
    left = [step * bar for bar in range(len(counts))]
    panel.bar(left, counts, width=0.9 * step, align="edge", color=LIGHT["blue"])
    panel.set_xlim(0, end)
    panel.set_ylabel("images")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure, panel
