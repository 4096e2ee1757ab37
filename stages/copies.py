"""Embeddings and fingerprints in, groups of copies of one image out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import DUPLICATES, Kind
from .contract import Inputs, Part, Runtime, Stage
from .rows.duplicate_groups import by_preference, read_images, write_groups
from .rows.random_rows import random_rows

if TYPE_CHECKING:
    from .algorithms.duplicates.confirmation import Confirmed

Tier = Literal["identical", "same"]


@dataclass(frozen=True, kw_only=True)
class Copies(Stage):
    """Groups files of equal bytes, or files that show the same image, around one to keep.

    `same` also finds images that were encoded again, resized, mirrored, turned, or whose edges were
    cut off by about 5 %. Pairs are proposed by hashes of small grey images and, for crops, by
    embeddings; small grey images confirm them: `algorithms.duplicates.registration`. Revision 2
    proposes pairs by hashes too, which finds turned images.
    """

    name: ClassVar[str] = "copies"
    kind: ClassVar[Kind] = DUPLICATES
    revision: ClassVar[int] = 2

    tier: Tier = "same"
    threshold: float = 0.965
    """Least correlation of a copy with the image that is kept. 95 % of crops of 5 % of photographs
    reach it, and all images that were encoded again, halved or mirrored do; so do 43 of 8.5 million
    pairs of 4,114 photographs, of which 36 show one photograph twice (`benchmarks.duplicates`)."""
    least_cosine: float = 0.9
    """Pairs of lower cosine are not compared."""
    neighbours: int = 20
    """Nearest images by embedding that each image is compared with. In a large set it is compared
    with those of near cells whose hashes differ little."""

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
        from .algorithms.duplicates.near_duplicates import NONE

        embeddings, fingerprints = inputs["embeddings"], inputs["fingerprints"]
        images = read_images(embeddings)
        order = by_preference(images)
        kept = np.full(len(order), NONE)
        similarity = np.ones(len(order), np.float32)
        _keep_first_of_equal(_digests(fingerprints), order, kept)
        if self.tier == "same":
            rows = order[kept[order] == NONE]  # one of each group of equal files
            runtime.progress.start("duplicates", len(rows), "images")
            confirmed = self._confirm(embeddings, fingerprints, rows, runtime, scratch)
            copies = (confirmed.kept != NONE).nonzero()[0]
            kept[rows[copies]] = rows[confirmed.kept[copies]]
            similarity[rows[copies]] = confirmed.similarity[copies]
            _follow(kept, similarity)
        return write_groups(
            images, kept, similarity, scratch, threshold=self.threshold, tier=self.tier
        )

    def _confirm(
        self,
        embeddings: Artifact,
        fingerprints: Artifact,
        rows: np.ndarray,
        runtime: Runtime,
        scratch: Scratch,
    ) -> "Confirmed":
        """For each row, in order of preference, the kept one that shows the same image, if any."""
        from .algorithms.duplicates.image_copies import find_copies

        with random_rows(embeddings, scratch.folder) as read:
            return find_copies(
                Thumbnails(fingerprints, rows),
                lambda places: read(rows[places]),
                threshold=self.threshold,
                least_cosine=self.least_cosine,
                neighbours=self.neighbours,
                report=runtime.progress.advance,
            )


class Thumbnails:
    """Small grey images of some rows, read from their files on access."""

    def __init__(self, fingerprints: Artifact, rows: np.ndarray) -> None:
        self._parts = [fingerprints.array(part.name, "thumbnails") for part in fingerprints.parts]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self._rows = rows

    def __len__(self) -> int:
        """Number of images."""
        return len(self._rows)

    def __getitem__(self, places: "np.ndarray | slice") -> np.ndarray:
        """Some images, by their places among the rows."""
        rows = self._rows[places]
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        from .algorithms.duplicates.registration import SIDE

        out = np.empty((len(rows), SIDE * SIDE), np.uint8)
        for part in np.unique(parts):
            inside = parts == part
            out[inside] = self._parts[part][rows[inside] - self._starts[part]]
        return out


def _digests(fingerprints: Artifact) -> np.ndarray:
    """The first 128 bits of each file's digest, as two numbers."""
    blocks = [np.empty((0, 2), np.uint64)]
    for part in fingerprints.parts:
        column = fingerprints.table(part.name, columns=["digest"]).column(0)
        digits = "".join(column.to_pylist())
        blocks.append(np.frombuffer(bytes.fromhex(digits), ">u8").reshape(-1, 4)[:, :2])
    return np.concatenate(blocks).astype(np.uint64)


def _keep_first_of_equal(digests: np.ndarray, order: np.ndarray, kept: np.ndarray) -> None:
    """Keeps the first in order of files of equal bytes."""
    if not len(order):
        return
    ordered = digests[order]
    grouped = np.lexsort((ordered[:, 1], ordered[:, 0]))  # stable: by place within a group
    differs = (np.diff(ordered[grouped], axis=0) != 0).any(1)
    group = np.concatenate([[0], np.cumsum(differs)])
    leader = grouped[np.searchsorted(group, group)]
    is_copy = leader != grouped
    kept[order[grouped[is_copy]]] = order[leader[is_copy]]


def _follow(kept: np.ndarray, similarity: np.ndarray) -> None:
    """Assigns a file that equals a copy to the image that is kept for that copy."""
    from .algorithms.duplicates.near_duplicates import NONE

    equal = (kept != NONE).nonzero()[0]
    leaders = kept[equal]
    again = kept[leaders] != NONE
    similarity[equal[again]] = similarity[leaders[again]]
    kept[equal[again]] = kept[leaders[again]]
