"""Figures of a comparison, in the style of the report: scores of each group, and agreement."""

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from ..report.theme import HEAT, LIGHT
from .cells import unsigned
from .comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 4.6
"""Inches, as wide as the report's figures."""

_LABEL = 24
"""Characters in a line of a group's label."""

_LINE = 0.36
"""Inches of height for each group."""

_MOST_NUMBERED = 14
"""Most groups for which the heat map shows its numbers."""

_SCORES = (("acc", "ACC", "o", "blue"), ("nmi", "NMI", "s", "orange"), ("ari", "ARI", "^", "green"))
"""Colours of Okabe and Ito, each with a mark, for readers who cannot see colours."""


def draw_scores(comparison: Comparison) -> "Figure":
    """A line for each group, a mark for each score, with bars of the spread."""
    from matplotlib.figure import Figure

    groups = comparison.groups
    figure = Figure(figsize=(_WIDTH, 0.9 + _LINE * len(groups)), layout="constrained")
    panel = figure.subplots()
    for shift, (measure, title, mark, colour) in zip((-0.18, 0, 0.18), _SCORES, strict=True):
        known = [
            (place + shift, value)
            for place, group in enumerate(groups)
            if (value := group.value(measure)) is not None
        ]
        panel.errorbar(
            [value.mean for _, value in known],
            [place for place, _ in known],
            xerr=[value.spread or 0.0 for _, value in known],
            fmt=mark,
            color=LIGHT[colour],
            markersize=4.5,
            linewidth=1.2,
            label=title,
        )
    names = [fill(f"{n} {group.label}", _LABEL) for n, group in enumerate(groups, 1)]
    panel.set_yticks(range(len(groups)), names, parse_math=False)  # names may have dollars
    panel.set_ylim(len(groups) - 0.5, -0.5)
    panel.grid(axis="both")
    panel.tick_params(length=0)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def draw_agreement(comparison: Comparison) -> "Figure":
    """The matrix of agreement as a heat map, with its numbers if they are legible."""
    from matplotlib.figure import Figure

    values = np.array(
        [[np.nan if value is None else value for value in row] for row in comparison.agreement]
    )
    count = len(values)
    figure = Figure(figsize=(_WIDTH, 0.88 * _WIDTH), layout="constrained")
    panel = figure.subplots()
    image = panel.imshow(values, cmap=HEAT, vmin=0, vmax=1, interpolation="none")
    numbers = [str(number) for number in range(1, count + 1)]
    panel.set_xticks(range(count), numbers)
    panel.set_yticks(range(count), numbers)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for i, j in np.ndindex(values.shape) if count <= _MOST_NUMBERED else ():
        if np.isfinite(values[i, j]):
            # The map is dark below its middle, where light text is legible.
            colour = LIGHT["card"] if values[i, j] < 0.55 else LIGHT["ink"]
            text = unsigned(float(values[i, j]), 2).removeprefix("0")
            panel.text(j, i, text, ha="center", va="center", color=colour, fontsize=7.5)
    figure.colorbar(image, ax=panel, shrink=0.9).outline.set_visible(False)
    return figure
