"""A contact sheet: a query and its hits as one picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

TILE = 160
"""Pixels a side of a picture on the sheet."""

_MARGIN = 8
_LINE = 14
_LINES = 3
"""Lines of text under a picture."""
_COLUMNS = 6


def draw_sheet(tiles: "Sequence[tuple[Image.Image | None, Sequence[str]]]") -> "Image.Image":
    """Pictures in rows of a grid, up to three lines of text under each; None is an empty frame."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=11)
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    width = columns * (TILE + _MARGIN) + _MARGIN
    height = rows * (TILE + _LINES * _LINE + 2 * _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, lines) in enumerate(tiles):
        left = _MARGIN + number % columns * (TILE + _MARGIN)
        top = _MARGIN + number // columns * (TILE + _LINES * _LINE + 2 * _MARGIN)
        if picture is not None:
            small = _fit(picture)
            sheet.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
        # The first tile is the query.
        colour = "#c03000" if number == 0 else "#bbbbbb"
        draw.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=colour, width=2)
        for line, text in enumerate(lines[:_LINES]):
            place = (left, top + TILE + 3 + line * _LINE)
            draw.text(place, _shorten(draw, text, font), fill="black", font=font)
    return sheet


def _fit(picture: "Image.Image") -> "Image.Image":
    from PIL import Image

    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return picture.resize(size, resample)


def _shorten(draw, text: str, font) -> str:
    short = text
    while short and draw.textlength(short + ("…" if short != text else ""), font=font) > TILE:
        short = short[:-1]
    return short if short == text else short + "…"
