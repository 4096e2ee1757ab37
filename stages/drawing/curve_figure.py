"""The curve of coding lengths as a figure: its band, the chosen k, and the k that are as good."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figure_style import LIGHT, STYLE, panels
from .k_curve import KCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 200

_SHIFT = {"left": 5, "center": 0, "right": -5}
"""Horizontal offset in points from a mark to the words below it, by their alignment."""


def write_curve(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes a PNG of the columns of a k_curve.

    The bytes depend only on the columns and the version of matplotlib.
    """
    import matplotlib

    curve = KCurve.of(columns)
    with matplotlib.rc_context({**STYLE}):
        figure = draw_curve(curve, curve.chosen.k)
        # By default matplotlib writes its version into the file.
        figure.savefig(path, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})


def draw_curve(curve: KCurve, used: int) -> "Figure":
    """Draws coding lengths by k above the shortest, their band, the k as good, and the votes.

    The chosen k is marked, and so is `used`, the number of clusters in the run, if it is another.
    """
    has_votes = any(point.votes is not None for point in curve.points)
    figure, column = panels(2, (3, 1)) if has_votes else panels()
    panel = column[0]
    ks = [point.k for point in curve.points]
    _draw_lengths(panel, curve, used)
    if used != curve.chosen.k and min(ks) <= used <= max(ks):
        _mark_used(panel, curve, used)
    panel.set_ylabel("nats above the shortest")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    low, high = panel.get_ylim()
    panel.set_yticks([tick for tick in panel.get_yticks() if 0 <= tick <= high])
    panel.set_ylim(low - 0.16 * (high - low), high)  # room for the words below the curve
    if has_votes:
        _draw_votes(column[1], curve)
    _label_k(column[-1], ks)
    figure.align_ylabels(column)
    return figure


def _draw_lengths(panel: "Axes", curve: KCurve, used: int) -> None:
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
    side = _free_side(curve, used)
    panel.annotate(
        f"k = {chosen.k}",
        place,
        xytext=(_SHIFT[side], -8),
        textcoords="offset points",
        color=LIGHT["orange"],
        ha=side,
        va="top",
        fontweight="bold",
    )


def _free_side(curve: KCurve, used: int) -> str:
    """The alignment of words below the chosen point by which no line crosses them.

    The curve comes from below on one side or on none; on the other the run may have its line.
    """
    nats = {point.k: point.nats for point in curve.points}
    ks = sorted(nats)
    place = ks.index(curve.chosen.k)
    below = [nats[k] < curve.chosen.nats for k in ks]
    if place > 0 and below[place - 1]:
        return "left"
    if place + 1 < len(ks) and below[place + 1]:
        return "right"
    if used != curve.chosen.k:
        return "right" if used > curve.chosen.k and place > 0 else "left"
    return "left" if place == 0 else "center"


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
