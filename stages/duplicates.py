"""Embeddings in, groups of near-duplicates out, with one image to keep of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..store import Artifact, ConfigError, Product, Scratch
from ..store.kinds import DUPLICATES, Kind
from .contract import Inputs, Part, Runtime, Stage
from .rows.artifact_rows import gather
from .rows.duplicate_groups import by_preference, read_images, write_groups
from .rows.random_rows import random_rows

if TYPE_CHECKING:
    from .algorithms.duplicates.near_duplicates import NearDuplicates

THRESHOLD = 0.97
"""Threshold for models without a measured one. With ViT-B-32 it finds 21 of the 22 mirrored
leopards of Caltech-101, and drops 2 % of the other images as duplicates of another one."""

THRESHOLDS: Mapping[str, float] = {"digits-clip": 0.99}
"""Measured thresholds by the name of a model: a lower one finds more copies, and drops more images
that are no copies (`benchmarks.duplicates`)."""


def default_threshold(model: Mapping[str, Any]) -> float:
    """The least cosine of two near-duplicates, for the model that embedded them."""
    return THRESHOLDS.get(model.get("model", ""), THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class Duplicates(Stage):
    """Groups near-duplicates around an image to keep: the largest of its group, then the first key.

    Raw embeddings are compared, because refined features bring all images of one cluster together.
    Of few rows all pairs are compared; of many, only those of near cells, and the share of pairs of
    similar rows that this compares is measured: the fact `recall`.
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
        embeddings = inputs["embeddings"]
        images = read_images(embeddings)
        runtime.progress.start("duplicates", len(images), "rows")
        order = by_preference(images)
        decided, facts = self._decide(embeddings, order, runtime, scratch)
        kept, similarity = decided
        return write_groups(images, kept, similarity, scratch, threshold=self.threshold, **facts)

    def _decide(
        self, embeddings: Artifact, order: np.ndarray, runtime: Runtime, scratch: Scratch
    ) -> tuple["NearDuplicates", dict[str, Any]]:
        """The decision on each row, and facts about the recall."""
        import torch

        from .algorithms.duplicates.large_sets import ALL_PAIRS, near_duplicates_of_many
        from .algorithms.duplicates.near_duplicates import near_duplicates

        report = runtime.progress.advance
        if len(order) > ALL_PAIRS:
            with random_rows(embeddings, scratch.folder) as read:
                decided, recall = near_duplicates_of_many(
                    read, order, self.threshold, device=runtime.device, report=report
                )
            return decided, {"recall": recall.share, "recall_pairs": recall.pairs}
        x = torch.from_numpy(gather(embeddings))
        order_of = torch.from_numpy(order)
        return near_duplicates(
            x, order_of, self.threshold, device=runtime.device, report=report
        ), {}
