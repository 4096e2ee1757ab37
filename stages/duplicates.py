"""Embeddings in, groups of near-duplicates out, with one image to keep of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..store import ConfigError, Product, Scratch
from ..store.kinds import DUPLICATES, Kind
from .artifact_rows import gather
from .contract import Inputs, Part, Runtime, Stage
from .duplicate_groups import by_preference, read_images, write_groups

THRESHOLD = 0.97
"""For models without a measured threshold. With ViT-B-32 it finds 21 of the 22 mirrored leopards
of Caltech-101, and drops 2 % of the other images for another one."""

THRESHOLDS: Mapping[str, float] = {"digits-clip": 0.99}
"""Measured thresholds by the name of a model: a lower one finds more copies, and drops more images
that are none (`benchmarks.duplicates`)."""


def default_threshold(model: Mapping[str, Any]) -> float:
    """The least cosine of two near-duplicates, for the model that embedded them."""
    return THRESHOLDS.get(model.get("model", ""), THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class Duplicates(Stage):
    """Groups near-duplicates around an image to keep: the largest of its group, then the first key.

    Raw embeddings are compared, because refined features bring all images of one cluster together.
    """

    name: ClassVar[str] = "duplicates"
    kind: ClassVar[Kind] = DUPLICATES
    revision: ClassVar[int] = 1

    threshold: float = THRESHOLD
    """Least cosine of a duplicate with the image that is kept for it."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(
                f"duplicates: the threshold must be above 0 and at most 1, got {self.threshold:g}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Vectors, keys and sizes of the images."""
        return ("embeddings",)

    def make(
        self, part: Part, prepared: None, inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Compares all images with those that are kept, and writes the groups."""
        import torch

        from .algorithms.near_duplicates import near_duplicates

        embeddings = inputs["embeddings"]
        images = read_images(embeddings)
        runtime.progress.start("duplicates", len(images), "rows")
        kept, similarity = near_duplicates(
            torch.from_numpy(gather(embeddings)),
            torch.from_numpy(by_preference(images)),
            self.threshold,
            device=runtime.device,
            report=runtime.progress.advance,
        )
        return write_groups(images, kept, similarity, scratch, threshold=self.threshold)
