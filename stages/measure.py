"""Images in, scores of their pixels out: sharpness, brightness, colour, size."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..store import Product, Scratch
from ..store.errors import is_limit
from ..store.kinds import SCORES, Kind
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .rows.embedded_images import map_images
from .rows.score_columns import MEASURED, write_scores
from .sources.images.pixels import UndecodableImage, decode
from .sources.source import Entry

_SIDE = 256
"""Pixels of the longer side of the image that is measured: sharpness depends on the size."""

_LEAST_SIDE = 3
"""Least pixels of the shorter side: the Laplacian needs neighbours."""


@dataclass(frozen=True, kw_only=True)
class Measure(Stage):
    """Reads every image that was embedded again, and measures it at one size.

    An image that is gone, or cannot be decoded, has no scores.
    """

    name: ClassVar[str] = "measure"
    kind: ClassVar[Kind] = SCORES
    revision: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The embeddings, which list the images."""
        return ("embeddings",)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the embeddings."""
        return parts_like(inputs["embeddings"], {})

    def prepare(self, inputs: Inputs, runtime: Runtime) -> None:
        """Starts the count of images."""
        runtime.progress.start("measure", inputs["embeddings"].rows, "images")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Measures the images of one source. MissingError if the source is gone."""
        embeddings = inputs["embeddings"]
        rows = embeddings.part_names[part.name].rows
        scores: Iterator[tuple[float, ...] | None] = map_images(
            _measure, embeddings, part.name, runtime, scratch.folder, may_be_gone=True
        )
        values = np.full((rows, len(MEASURED)), np.nan, np.float32)
        for row, measured in enumerate(scores):
            if measured is not None:
                values[row] = measured
        write_scores(scratch, MEASURED, values)
        return Product(rows=rows, facts={"unreadable": int(np.isnan(values[:, 0]).sum())})


def _measure(entry: Entry | None) -> tuple[float, ...] | None:
    """The scores of an image, upright; None for one that cannot be read."""
    from PIL import Image

    from .algorithms import image_scores

    if entry is None:
        return None
    try:
        decoded = decode(entry.read_image(), at_least=2 * _SIDE, upright=True)
    except (UndecodableImage, OSError) as error:
        if is_limit(error):
            raise
        return None
    width, height = decoded.width, decoded.height
    if (decoded.rgb.width < decoded.rgb.height) != (width < height):
        width, height = height, width  # it was turned upright
    scale = _SIDE / max(width, height)
    size = [max(_LEAST_SIDE, round(side * scale)) for side in (width, height)]
    rgb = np.asarray(decoded.rgb.resize((size[0], size[1]), Image.Resampling.BICUBIC), np.uint8)
    grey = image_scores.luma(rgb)
    return (
        image_scores.sharpness(grey),
        image_scores.brightness(grey),
        image_scores.contrast(grey),
        image_scores.colourfulness(rgb),
        width * height / 1e6,
        width / height,
    )
