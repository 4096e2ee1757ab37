"""The hits of a search: a list, which Jupyter shows as images."""

import base64
import io

from ...store import MissingError, RowError
from ..report.markup import Html, tag
from ..view.searcher import Hit

_SIDE = 112
"""Pixels of an image."""
_MOST = 50
"""Hits that Jupyter shows."""


class Hits(list[Hit]):
    """Hits, best first."""

    def _repr_html_(self) -> str:
        style = "display:flex;flex-wrap:wrap;gap:8px"
        return tag("div", *(_show(hit) for hit in self[:_MOST]), style=style)


def _show(hit: Hit) -> Html:
    place = "" if hit.cluster is None else f"{hit.cluster}: {hit.caption or 'no caption'}"
    return tag(
        "figure",
        _image(hit),
        tag("figcaption", f"{hit.similarity:.3f} {hit.key}", tag("br"), place),
        style=f"margin:0;width:{_SIDE}px;font-size:11px;overflow-wrap:anywhere",
    )


def _image(hit: Hit) -> Html:
    try:
        image = hit.image()
    except (MissingError, RowError) as error:
        return tag("p", f"no image: {error}")
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return tag("img", src=source, alt=hit.key, width=image.width, height=image.height)
