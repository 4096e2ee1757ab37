"""Embeddings and fingerprints in, groups of copies of one image out."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..store import ConfigError, Product, Scratch
from ..store.kinds import DUPLICATES, Kind
from .artifact_rows import gather
from .contract import Inputs, Part, Runtime, Stage
from .duplicate_groups import by_preference, read_images, write_groups

Tier = Literal["identical", "same"]


@dataclass(frozen=True, kw_only=True)
class Copies(Stage):
    """Groups files of equal bytes, or images that show the same picture, around one to keep.

    `same` also finds images that were encoded again, resized, mirrored, or whose edges were cut off
    by about 5 %. Pairs are proposed by their embeddings, and confirmed by comparing small grey
    images: `algorithms.registration`.
    """

    name: ClassVar[str] = "copies"
    kind: ClassVar[Kind] = DUPLICATES
    revision: ClassVar[int] = 1

    tier: Tier = "same"
    threshold: float = 0.965
    """Least correlation of a copy with the image that is kept. Of crops of 5 % of photographs 95 %
    reach it, and all images that were encoded again, halved or mirrored do; of 8.5 million pairs of
    4,114 other photographs 43, of which 36 show one photograph twice (`benchmarks.duplicates`)."""
    least_cosine: float = 0.9
    """Pairs of lower cosine are not compared."""
    neighbours: int = 20
    """Nearest images by embedding that each image is compared with."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(
                f"copies: the threshold must be above 0 and at most 1, got {self.threshold:g}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Vectors, keys and sizes of the images, and their fingerprints."""
        return ("embeddings", "fingerprints")

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Finds pairs of copies, and keeps one image of each group."""
        from .algorithms.near_duplicates import NONE

        embeddings, fingerprints = inputs["embeddings"], inputs["fingerprints"]
        images = read_images(embeddings)
        order = by_preference(images)
        kept = np.full(len(order), NONE)
        similarity = np.ones(len(order), np.float32)
        _keep_first_of_equal(np.array(fingerprints.column("digest")), order, kept)
        if self.tier == "same":
            thumbnails = np.concatenate(
                [fingerprints.array(part.name, "thumbnails") for part in fingerprints.parts]
            )
            self._confirm(gather(embeddings), thumbnails, order, kept, similarity, runtime)
        return write_groups(
            images, kept, similarity, scratch, threshold=self.threshold, tier=self.tier
        )

    def _confirm(
        self,
        x: np.ndarray,
        thumbnails: np.ndarray,
        order: np.ndarray,
        kept: np.ndarray,
        similarity: np.ndarray,
        runtime: Runtime,
    ) -> None:
        """Drops the rows that show the same picture as a row that is kept and comes before them."""
        from .algorithms.near_duplicates import NONE
        from .algorithms.proposals import propose
        from .algorithms.registration import Registration

        rows = order[kept[order] == NONE]  # one of each group of equal files
        runtime.progress.start("duplicates", len(rows), "images")
        registration = Registration(thumbnails[rows])
        vectors = x[rows].astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        is_kept = np.ones(len(rows), bool)
        near = propose(vectors, self.neighbours, self.least_cosine)
        for place in range(len(rows)):
            runtime.progress.advance(1)
            others = near[place]
            if not is_kept[place] or not len(others):
                continue
            # Whoever comes later and is not dropped yet; also the copies of copies.
            seen: set[int] = {place}
            waiting = others[(others > place) & is_kept[others]]
            while len(waiting):
                seen.update(waiting.tolist())
                values = registration.correlations(place, waiting)
                copies = waiting[values >= self.threshold]
                is_kept[copies] = False
                kept[rows[copies]] = rows[place]
                similarity[rows[copies]] = values[values >= self.threshold]
                further = {int(row) for copy in copies for row in near[copy]} - seen
                waiting = np.array(sorted(further), np.int64)
                waiting = waiting[(waiting > place) & is_kept[waiting]]
        equal = (kept != NONE).nonzero()[0]
        leaders = kept[equal]
        # A file that equals one which is itself a copy is kept for by the same image.
        again = kept[leaders] != NONE
        similarity[equal[again]] = similarity[leaders[again]]
        kept[equal[again]] = kept[leaders[again]]


def _keep_first_of_equal(digests: np.ndarray, order: np.ndarray, kept: np.ndarray) -> None:
    """Of files of equal bytes the first in order is kept."""
    first: dict[str, int] = {}
    for row in order.tolist():
        leader = first.setdefault(str(digests[row]), row)
        if leader != row:
            kept[row] = leader
