"""A contact sheet: a query and its hits in one image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

TILE = 160
"""Pixels a side of each image."""

_MARGIN = 8
_LINE = 14
_LINES = 3
"""Lines of text under an image."""
_COLUMNS = 6


def draw_sheet(tiles: "Sequence[tuple[Image.Image | None, Sequence[str]]]") -> "Image.Image":
    """Images in a grid with up to three lines of text under each; None leaves an empty frame."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=11)
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    width = columns * (TILE + _MARGIN) + _MARGIN
    height = rows * (TILE + _LINES * _LINE + 2 * _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, lines) in enumerate(tiles):
        left = _MARGIN + number % columns * (TILE + _MARGIN)
        top = _MARGIN + number // columns * (TILE + _LINES * _LINE + 2 * _MARGIN)
        if image is not None:
            small = _fit(image)
            sheet.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
        # The first tile is the query.
        colour = "#c03000" if number == 0 else "#bbbbbb"
        draw.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=colour, width=2)
        for line, text in enumerate(lines[:_LINES]):
            place = (left, top + TILE + 3 + line * _LINE)
            draw.text(place, _shorten(draw, text, font), fill="black", font=font)
    return sheet


def _fit(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return image.resize(size, resample)


def _shorten(draw: "ImageDraw.ImageDraw", text: str, font: Any) -> str:
    """A text that fits under an image, cut at the end."""
    short = text
    while short and draw.textlength(short + ("…" if short != text else ""), font=font) > TILE:
        short = short[:-1]
    return short if short == text else short + "…"
