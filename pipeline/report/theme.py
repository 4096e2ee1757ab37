"""The colours of the page and of its figures, for light and for dark."""

from collections.abc import Mapping

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
"""Blue, orange and green by Okabe and Ito, as in the history of a training."""

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
"""The same names, lighter by as much as a dark page asks for."""

HEAT = "cividis"
"""Matplotlib's map of |cosine| to colours: made to read the same to colour-blind eyes."""


def variables(colours: Mapping[str, str]) -> str:
    """Colours as CSS custom properties."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def themed(svg: str) -> str:
    """Markup whose light colours became variables, so that they follow the page."""
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
