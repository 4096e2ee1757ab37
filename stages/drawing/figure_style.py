"""The look of all figures: colours that colour-blind readers can tell apart, type, and lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

LIGHT: Mapping[str, str] = {
    "page": "#f7f6f2",
    "card": "#fffefb",
    "ink": "#1c2028",
    "muted": "#5d6470",
    "line": "#dedbd2",
    "grid": "#e9e7e0",
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "shade": "#cfe6da",
}
"""Blue, orange and green are Okabe and Ito's, as in the history of a training."""

WIDTH, HEIGHT = 4.6, 3.0
"""Inches of a figure: small, so that its text stays legible if a phone shrinks it."""

STYLE: "Mapping[RcKeyType, Any]" = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cpp-pipe",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.edgecolor": LIGHT["line"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": LIGHT["line"],
    "ytick.color": LIGHT["line"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "legend.frameon": False,
    "image.composite_image": False,
}
"""DejaVu comes with matplotlib. It is wider than most fonts, so its text also fits in others."""


def panels(rows: int = 1, ratios: Sequence[float] = (1,)) -> "tuple[Figure, Sequence[Axes]]":
    """A figure of panels below each other, with lines at the ticks of their vertical axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    column = figure.subplots(rows, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for panel in column:
        panel.grid(axis="y")
        panel.tick_params(length=0)
    return figure, list(column)
