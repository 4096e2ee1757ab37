"""Images in, fingerprints out: a digest of each file, and a small grey image."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..store import MissingError, Product, Scratch
from ..store.files import write_array
from ..store.kinds import FINGERPRINTS, Kind
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .rows.embedded_images import map_images
from .sources.images.pixels import UndecodableImage, decode
from .sources.source import Entry


@dataclass(frozen=True, kw_only=True)
class Fingerprint(Stage):
    """Reads every image that was embedded again."""

    name: ClassVar[str] = "fingerprint"
    kind: ClassVar[Kind] = FINGERPRINTS
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
        runtime.progress.start("fingerprint", inputs["embeddings"].rows, "images")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Reads the images of one source. MissingError if the source or an image is gone."""
        from .algorithms.duplicates.registration import SIDE

        embeddings = inputs["embeddings"]
        digests, images = [], np.empty((embeddings.part_names[part.name].rows, SIDE**2), np.uint8)
        fingerprints = map_images(_fingerprint, embeddings, part.name, runtime, scratch.folder)
        for row, (digest, image) in enumerate(fingerprints):
            digests.append(digest)
            images[row] = image
        scratch.write_table("rows", {"digest": digests})
        write_array(scratch.path("thumbnails"), images)
        return Product(rows=len(digests), shared={"side": SIDE})


def _fingerprint(entry: Entry | None) -> tuple[str, np.ndarray]:
    from PIL import Image

    from .algorithms.duplicates.registration import SIDE

    assert entry is not None, "an image that is gone was reported before"
    try:
        encoded = entry.read_image()
        image = decode(encoded, at_least=2 * SIDE).rgb
    except UndecodableImage as error:
        raise MissingError(
            f"an image that was embedded cannot be decoded any more ({error}): embed it again"
        ) from error
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return hashlib.sha256(encoded).hexdigest(), np.asarray(grey, np.uint8).ravel()
