"""Colours of the report, its figures and the page, in light and in dark."""

from collections.abc import Mapping

from ...stages.drawing.figure_style import LIGHT

DARK: Mapping[str, str] = {
    "page": "#14161a",
    "card": "#1b1e24",
    "ink": "#e9e7e1",
    "muted": "#a0a5ae",
    "line": "#343842",
    "grid": "#2a2e36",
    "blue": "#56b4e9",
    "orange": "#f08a4b",
    "green": "#3cc79b",
    "shade": "#234438",
}
"""Colours by the names of `LIGHT`, lighter for a dark background."""

HEAT = "cividis"
"""Matplotlib's colour map of |cosine|, which reads the same to colour-blind eyes."""


def variables(colours: Mapping[str, str]) -> str:
    """Colours as CSS custom properties."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def themed(svg: str) -> str:
    """An SVG whose colours are variables instead of light ones, so that they follow the theme."""
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
