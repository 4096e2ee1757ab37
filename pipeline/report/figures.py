"""Figures of the report, one a function.

They are small, so that their text stays legible if a phone shrinks them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...stages.drawing.figure_style import WIDTH, panels
from ..view.evaluation import Decile
from .contents import Space
from .theme import HEAT, LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_BARS = 60
"""Clusters drawn as bars; more are drawn as a curve."""

_MOST_NAMES = 16
"""Bars labelled with the number of their cluster; more are not labelled."""

_HEAT_LEVELS = 64
"""Steps of |cosine|: no eye sees more, and fewer take fewer bytes."""

FLOOR = 1e-3
"""The lower end of the axis of singular values."""


def draw_sizes(sizes: np.ndarray, numbers: Sequence[int]) -> "Figure":
    """Rows of each cluster, largest first: bars, or a curve on a logarithmic scale.

    `numbers` are the clusters in the order of the sizes.
    """
    from matplotlib.ticker import LogLocator

    figure, (panel,) = panels()
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

    figure = Figure(figsize=(WIDTH, WIDTH * 0.93), layout="constrained")
    panel, scale = figure.subplots(1, 2, width_ratios=(24, 1))
    draw_heat_map(panel, cosines, row_counts)
    draw_heat_scale(scale)
    return figure


def draw_heat_map(panel: "Axes", cosines: np.ndarray, row_counts: Mapping[int, int]) -> None:
    """The map of `draw_cosines` alone."""
    levels = np.round(np.clip(cosines, 0, 1) * (_HEAT_LEVELS - 1)) / (_HEAT_LEVELS - 1)
    panel.imshow(levels, cmap=HEAT, vmin=0, vmax=1, interpolation="none")
    ends = np.cumsum(list(row_counts.values()))
    middles = ends - np.array(list(row_counts.values())) / 2 - 0.5
    names = [str(cluster) for cluster in row_counts]
    panel.set_xticks(middles, names)
    panel.set_yticks(middles, names)
    panel.set_xlabel("cluster")
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def draw_heat_scale(scale: "Axes") -> None:
    """The colours of a heat map from 0 to 1."""
    ramp = np.linspace(1, 0, _HEAT_LEVELS)[:, None]
    scale.imshow(ramp, cmap=HEAT, vmin=0, vmax=1, aspect="auto", extent=(0, 1, 0, 1))
    scale.set_xticks([])
    scale.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    scale.yaxis.tick_right()
    scale.tick_params(length=0)
    scale.spines[:].set_visible(False)


def draw_singular_values(space: Space) -> "Figure":
    """Singular values over the largest, of all rows and of each sampled cluster."""
    figure, (panel,) = panels()
    draw_values(panel, space)
    panel.set_ylabel("share of the largest")
    panel.legend(loc="best")
    return figure


def draw_values(panel: "Axes", space: Space) -> None:
    """The lines of `draw_singular_values` alone."""
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
    panel.set_ylim(FLOOR, 1.25)  # before the scale, which warns where all values are zero
    panel.set_yscale("log")
    panel.set_xlim(1, max(2, len(space.overall)))
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_xlabel("singular value, largest first")


def _name_clusters(count: int) -> str:
    return "the largest cluster" if count == 1 else f"the {count} largest clusters"


def draw_deciles(deciles: Sequence[Decile]) -> "Figure":
    """Accuracy and purity of each tenth of the rows, by their mean confidence."""
    figure, (panel,) = panels()
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
    figure, (panel,) = panels()
    step = end / len(counts)
    left = [step * bar for bar in range(len(counts))]
    panel.bar(left, counts, width=0.9 * step, align="edge", color=LIGHT["blue"])
    panel.set_xlim(0, end)
    panel.set_ylabel("images")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure, panel
