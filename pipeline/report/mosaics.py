"""Pictures of rows, many drawn as one: a cluster's members, and neighbours side by side."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

from ...store import MissingError
from ..run import Run
from ..view.images import open_row
from .contents import Drawn

if TYPE_CHECKING:
    from PIL import Image

_WIDTH = 672
"""Pixels of a mosaic: as many as a card of the page has on a wide screen."""
_PER_LINE, _SMALL_PER_LINE = 6, 8
_GAP = 2
_QUALITY = 80
_FRAME = 5
_FEW = 64
"""Pixels below which a picture is drawn with its pixels seen."""
_READERS = 8
"""Pictures that are read at once: the wait for a disk or a network is most of it."""
_GROUND, _GONE, _OTHER = "#dedbd2", "#8a8f98", "#d55e00"


class Tiles:
    """Square pictures of a run's rows, read where they lie. What cannot be read is None."""

    def __init__(self, run: Run) -> None:
        self._embeddings = run.artifact("embeddings")
        self._sources = run.record.sources
        self.trouble = ""
        """Why a picture could not be read, the last one."""

    def read(self, rows: Sequence[int], side: int) -> "list[Image.Image | None]":
        """Squares of so many pixels, in order."""
        return next(iter(self.read_many([rows], side)))

    def read_many(
        self, of_each: Sequence[Sequence[int]], side: int
    ) -> "Iterator[list[Image.Image | None]]":
        """The same for several lists of rows; the next lists are read ahead."""
        with ThreadPoolExecutor(_READERS) as pool:
            tiles = pool.map(lambda row: self._tile(row, side), chain.from_iterable(of_each))
            for rows in of_each:
                yield [next(tiles) for _ in rows]

    def _tile(self, row: int, side: int) -> "Image.Image | None":
        from PIL import Image, ImageOps

        try:
            picture = open_row(self._embeddings, self._sources, row, at_least=side)
        except MissingError as error:
            self.trouble = str(error)
            return None
        is_small = min(picture.size) < _FEW
        method = Image.Resampling.NEAREST if is_small else Image.Resampling.BICUBIC
        return ImageOps.fit(picture, (side, side), method)


TILE = (_WIDTH - (_PER_LINE - 1) * _GAP) // _PER_LINE


def draw_mosaic(
    surest: "Sequence[Image.Image | None]", doubtful: "Sequence[Image.Image | None]"
) -> Drawn:
    """The surest members in lines of six, and below them smaller the most doubtful ones."""
    small = (_WIDTH - (_SMALL_PER_LINE - 1) * _GAP) // _SMALL_PER_LINE
    placed = list(_in_lines(surest, TILE, _PER_LINE, 0))
    below = -(-len(surest) // _PER_LINE) * (TILE + _GAP)
    placed += _in_lines(doubtful, small, _SMALL_PER_LINE, below)
    return _draw(placed)


def draw_strip(
    tiles: "Sequence[Image.Image | None]", is_other: Sequence[bool] | None = None
) -> Drawn:
    """Pictures in one line; those of another cluster are framed."""
    placed = list(_in_lines(tiles, TILE, len(tiles), 0))
    return _draw(placed, is_other or [False] * len(tiles))


_Placed = tuple["Image.Image | None", int, int, int]


def _in_lines(
    tiles: "Sequence[Image.Image | None]", side: int, per_line: int, top: int
) -> Iterator[_Placed]:
    for number, tile in enumerate(tiles):
        line, column = divmod(number, per_line)
        yield tile, column * (side + _GAP), top + line * (side + _GAP), side


def _draw(placed: Sequence[_Placed], is_framed: Sequence[bool] = ()) -> Drawn:
    from PIL import Image, ImageDraw

    width = max(left + side for _, left, _, side in placed)
    height = max(top + side for _, _, top, side in placed)
    whole = Image.new("RGB", (width, height), _GROUND)
    pen = ImageDraw.Draw(whole)
    for number, (tile, left, top, side) in enumerate(placed):
        box = (left, top, left + side - 1, top + side - 1)
        if tile is None:
            pen.rectangle(box, fill=_GONE)
            pen.line((*box[:2], *box[2:]), fill=_GROUND, width=2)
        else:
            whole.paste(tile if tile.width == side else tile.resize((side, side)), box[:2])
        if number < len(is_framed) and is_framed[number]:
            pen.rectangle(box, outline=_OTHER, width=_FRAME)
    written = io.BytesIO()
    whole.save(written, "JPEG", quality=_QUALITY)
    return Drawn(jpeg=written.getvalue(), width=width, height=height)
