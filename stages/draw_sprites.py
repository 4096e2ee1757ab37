"""Images in, sheets of small squares out, from which a map of many images is drawn."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..store import ConfigError, Product, Scratch
from ..store.digest import digest_json
from ..store.errors import is_limit
from ..store.kinds import SPRITES, Kind
from .contract import Inputs, Part, Runtime, Stage
from .rows.artifact_rows import pick_evenly
from .rows.embedded_images import map_images
from .sources.images.pixels import UndecodableImage, decode
from .sources.source import Entry

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32
"""Pixels of a square."""

COLUMNS = 64
"""Squares in a row of a sheet, and rows of a sheet: 2,048 pixels, which every browser can draw."""

A_SHEET = COLUMNS * COLUMNS
"""Images on a full sheet."""

MAX_POINTS = 200_000
"""Most rows that a map shows: a screen has no room for more."""

_GREY = (128, 128, 128)
"""Colour of a square whose image cannot be read."""

_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class DrawSprites(Stage):
    """Draws every image that was embedded as a small square; of many rows, evenly spaced ones.

    A sheet is a part. A row that is added changes no full sheet, as long as all rows are drawn.
    """

    name: ClassVar[str] = "draw-sprites"
    kind: ClassVar[Kind] = SPRITES
    revision: ClassVar[int] = 1
    refit: ClassVar[str] = "map"
    reads_images: ClassVar[bool] = True
    is_thread_invariant: ClassVar[bool] = True

    images: int = 100_000
    """Images that are drawn, at most."""

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ConfigError(f"draw_sprites.images must be at least 1, got {self.images}")

    @property
    def needs(self) -> tuple[str, ...]:
        """The embeddings, which list the images."""
        return ("embeddings",)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each sheet, made from its rows and from the parts that hold them."""
        embeddings = inputs["embeddings"]
        starts = np.array([embeddings.starts[part.name] for part in embeddings.parts])
        parts = []
        for name, rows in self._sheets(embeddings.rows).items():
            holders = np.searchsorted(starts, rows, "right") - 1
            made_from = [
                [
                    embeddings.parts[holder].content,
                    (rows[holders == holder] - starts[holder]).tolist(),
                ]
                for holder in np.unique(holders)
            ]
            parts.append(
                Part(name=name, sources={"embeddings": digest_json([rows.tolist(), made_from])})
            )
        return tuple(parts)

    def prepare(self, inputs: Inputs, runtime: Runtime) -> None:
        """Starts the count of images."""
        sheets = self._sheets(inputs["embeddings"].rows)
        runtime.progress.start("sprites", sum(map(len, sheets.values())), "images")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Draws one sheet. MissingError if a source is gone.

        A square is grey if only its image is gone, or cannot be decoded.
        """
        from PIL import Image

        embeddings = inputs["embeddings"]
        rows = self._sheets(embeddings.rows)[part.name]
        sheet = Image.new("RGB", (COLUMNS * SIDE, COLUMNS * SIDE), _GREY)
        place = unreadable = 0
        for source_part in embeddings.parts:
            start = embeddings.starts[source_part.name]
            own = rows[(rows >= start) & (rows < start + source_part.rows)] - start
            if not len(own):
                continue
            squares = map_images(
                _draw_square,
                embeddings,
                source_part.name,
                runtime,
                scratch.folder,
                rows=own,
                may_be_gone=True,
            )
            for square in squares:
                if square is None:
                    unreadable += 1
                else:
                    y, x = divmod(place, COLUMNS)
                    sheet.paste(square, (x * SIDE, y * SIDE))
                place += 1
        encoded = io.BytesIO()
        sheet.save(encoded, "JPEG", quality=_QUALITY)
        scratch.path("sheet").write_bytes(encoded.getvalue())
        scratch.write_table("rows", {"row": rows})
        return Product(
            rows=len(rows),
            facts={"unreadable": unreadable},
            shared={"side": SIDE, "columns": COLUMNS},
        )

    def _sheets(self, n: int) -> dict[str, np.ndarray]:
        """The rows of each sheet, by the name of its part, which sorts as their order."""
        rows = choose_drawn(n, self.images)
        return {
            f"sheet-{start // A_SHEET:04d}": rows[start : start + A_SHEET]
            for start in range(0, len(rows), A_SHEET)
        }


def choose_drawn(n: int, images: int) -> np.ndarray:
    """The rows that are drawn: of those that a map of n rows shows, at most `images`, ascending."""
    shown = pick_evenly(np.arange(n), MAX_POINTS)
    return pick_evenly(shown, images)


def _draw_square(entry: Entry | None) -> "Image.Image | None":
    """The middle of an image, upright."""
    from PIL import Image, ImageOps

    if entry is None:
        return None
    try:
        image = decode(entry.read_image(), at_least=2 * SIDE, upright=True).rgb
    except (UndecodableImage, OSError) as error:
        if is_limit(error):
            raise
        return None
    return ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
