"""A figure as inline SVG: without prologue and date, in the colours of the report."""

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...stages.drawing.figure_style import STYLE
from .markup import Html, tag
from .theme import themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_svg(name: str, alt: str, draw: "Callable[..., Figure]", *args: Any) -> Html:
    """The figure that `draw` makes, as inline SVG. `name` makes its ids unique in the report.

    The same arguments and version of matplotlib give the same bytes.
    """
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE}), warnings.catch_warnings():
        # Text stays text, and a browser has fonts for letters that matplotlib's lacks.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        figure = draw(*args)
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    return inline_svg(buffer.getvalue().decode(), name, alt)


def inline_svg(svg: str, name: str, alt: str) -> Html:
    """An SVG file of matplotlib as an element of HTML."""
    opening = re.search(r"<svg\b[^>]*>", svg)
    assert opening is not None, "matplotlib wrote no svg element"
    view_box = re.search(r'viewBox="([^"]*)"', opening.group())
    assert view_box is not None, "matplotlib wrote an svg element without its size"
    inside = svg[opening.end() : svg.rindex("</svg>")]
    inside = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", inside, flags=re.DOTALL
    )
    inside = re.sub(r"base64,\s+", "base64,", inside).replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', inside))
    inside = re.sub(
        r' id="([^"]*)"', lambda id_: f' id="{name}-{id_[1]}"' if id_[1] in used else "", inside
    )
    inside = re.sub(r'(url\(|href=")#', rf"\1#{name}-", inside)
    inside = re.sub(r"\n\s*", "\n", inside)
    return tag("svg", Html(themed(inside)), viewBox=view_box[1], role="img", aria_label=alt)
