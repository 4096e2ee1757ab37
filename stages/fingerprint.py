"""Images in, what tells copies of them apart out: a digest of the file, and a small grey image."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from ..store import MissingError, Product, Scratch
from ..store.files import write_array
from ..store.kinds import FINGERPRINTS, Kind
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .sources.images.pixels import UndecodableImage, decode
from .sources.source import Entry, SampleSource

_AT_ONCE = 64
"""Images that are read before their rows are kept: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint(Stage):
    """Reads every image that was embedded again."""

    name: ClassVar[str] = "fingerprint"
    kind: ClassVar[Kind] = FINGERPRINTS
    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Which images there are."""
        return ("embeddings",)

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the embeddings."""
        return parts_like(inputs["embeddings"], {})

    def prepare(self, inputs: Inputs, runtime: Runtime) -> None:
        """Begins to count."""
        runtime.progress.start("fingerprint", inputs["embeddings"].rows, "images")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Reads the images of one source. MissingError where the source or an image is gone."""
        from .algorithms.registration import SIDE

        embeddings = inputs["embeddings"]
        keys = embeddings.table(part.name, columns=["key"]).column(0).to_pylist()
        source = runtime.sources.get(part.name)
        if source is None:
            raise MissingError(
                f"the images of part {part.name} of the embeddings are not where they were, or "
                "were imported without images: name their place with --images, --shards or --table "
                "of `cpp-pipe embed`; nothing is embedded twice"
            )
        digests, images = [], np.empty((len(keys), SIDE * SIDE), np.uint8)
        with cast(SampleSource, source).open(scratch.folder) as opened:
            entries = {entry.key: entry for entry in opened.samples}
            gone = [key for key in keys if key not in entries]
            if gone:
                raise MissingError(
                    f"{gone[0]} is no longer in {source.path}: embed it again, or put it back"
                )
            wanted = [entries[key] for key in keys]
            for row, (digest, image) in enumerate(_read(wanted, runtime)):
                digests.append(digest)
                images[row] = image
        scratch.write_table("rows", {"digest": digests})
        write_array(scratch.path("thumbnails"), images)
        return Product(rows=len(keys), shared={"side": SIDE})


def _read(entries: list[Entry], runtime: Runtime) -> Iterator[tuple[str, np.ndarray]]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(entries), _AT_ONCE):
            some = entries[start : start + _AT_ONCE]
            encoded = [entry.read_image() for entry in some]
            yield from pool.map(_fingerprint, encoded)
            runtime.progress.advance(len(some))


def _fingerprint(encoded: bytes) -> tuple[str, np.ndarray]:
    from PIL import Image

    from .algorithms.registration import SIDE

    try:
        image = decode(encoded, at_least=2 * SIDE).rgb
    except UndecodableImage as error:
        raise MissingError(
            f"an image that was embedded cannot be decoded any more ({error}): embed it again"
        ) from error
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return hashlib.sha256(encoded).hexdigest(), np.asarray(grey, np.uint8).ravel()
