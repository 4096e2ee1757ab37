"""Images of rows drawn as one: the members of a cluster, or the neighbours of a row."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

from ...store import MissingError
from ..view.images import open_row
from ..view.opened_run import OpenedRun
from .contents import Jpeg

if TYPE_CHECKING:
    from PIL import Image

_WIDTH = 672
"""Pixels of a mosaic: the width of a card on a wide screen."""
_PER_LINE, _SMALL_PER_LINE = 6, 8
_GAP = 2
_QUALITY = 80
_FRAME = 5
_FEW = 64
"""Smaller images, in pixels, are enlarged without smoothing."""
_READERS = 8
"""Images read at once: most of the time is spent waiting for a disk or a network."""
_BACKGROUND, _UNREADABLE, _FRAME_COLOUR = "#dedbd2", "#8a8f98", "#d55e00"


class Tiles:
    """Square images of rows, read from their sources; None for one that cannot be read."""

    def __init__(self, run: OpenedRun) -> None:
        self._embeddings = run.artifact("embeddings")
        self._sources = run.record.sources
        self.trouble = ""
        """The reason why the last unreadable image could not be read."""

    def read(self, rows: Sequence[int], side: int) -> "list[Image.Image | None]":
        """Images of `side` pixels squared, in the order of the rows."""
        return next(iter(self.read_many([rows], side)))

    def read_many(
        self, row_lists: Sequence[Sequence[int]], side: int
    ) -> "Iterator[list[Image.Image | None]]":
        """`read` for several lists of rows, which are read ahead."""
        with ThreadPoolExecutor(_READERS) as pool:
            tiles = pool.map(lambda row: self._tile(row, side), chain.from_iterable(row_lists))
            for rows in row_lists:
                yield [next(tiles) for _ in rows]

    def _tile(self, row: int, side: int) -> "Image.Image | None":
        from PIL import Image, ImageOps

        try:
            image = open_row(self._embeddings, self._sources, row, at_least=side)
        except MissingError as error:
            self.trouble = str(error)
            return None
        is_small = min(image.size) < _FEW
        method = Image.Resampling.NEAREST if is_small else Image.Resampling.BICUBIC
        return ImageOps.fit(image, (side, side), method)


TILE = (_WIDTH - (_PER_LINE - 1) * _GAP) // _PER_LINE


def draw_mosaic(
    surest: "Sequence[Image.Image | None]", doubtful: "Sequence[Image.Image | None]"
) -> Jpeg:
    """The surest members in lines of six; below them, smaller, the most doubtful ones."""
    small = (_WIDTH - (_SMALL_PER_LINE - 1) * _GAP) // _SMALL_PER_LINE
    placed = list(_in_lines(surest, TILE, _PER_LINE, 0))
    below = -(-len(surest) // _PER_LINE) * (TILE + _GAP)
    placed += _in_lines(doubtful, small, _SMALL_PER_LINE, below)
    return _draw(placed)


def draw_strip(
    tiles: "Sequence[Image.Image | None]", is_other: Sequence[bool] | None = None
) -> Jpeg:
    """Images in one line; those of another cluster are framed."""
    placed = list(_in_lines(tiles, TILE, len(tiles), 0))
    return _draw(placed, is_other or [False] * len(tiles))


_Placed = tuple["Image.Image | None", int, int, int]


def _in_lines(
    tiles: "Sequence[Image.Image | None]", side: int, per_line: int, top: int
) -> Iterator[_Placed]:
    for number, tile in enumerate(tiles):
        line, column = divmod(number, per_line)
        yield tile, column * (side + _GAP), top + line * (side + _GAP), side


def _draw(placed: Sequence[_Placed], is_framed: Sequence[bool] = ()) -> Jpeg:
    from PIL import Image, ImageDraw

    width = max(left + side for _, left, _, side in placed)
    height = max(top + side for _, _, top, side in placed)
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for number, (tile, left, top, side) in enumerate(placed):
        box = (left, top, left + side - 1, top + side - 1)
        if tile is None:
            pen.rectangle(box, fill=_UNREADABLE)
            pen.line((*box[:2], *box[2:]), fill=_BACKGROUND, width=2)
        else:
            canvas.paste(tile if tile.width == side else tile.resize((side, side)), box[:2])
        if number < len(is_framed) and is_framed[number]:
            pen.rectangle(box, outline=_FRAME_COLOUR, width=_FRAME)
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=_QUALITY)
    return Jpeg(data=buffer.getvalue(), width=width, height=height)
