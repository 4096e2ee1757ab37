"""The images of a run by their keys, so that runs of different subsets can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from ...stages.rows.image_names import image_names
from ...store import Artifact
from ..view.labels import read_labels


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """The images of an artifact of embeddings, in row order."""

    embeddings: Artifact
    labels: np.ndarray
    """(n,) the label of each image, or None if it has none."""

    @classmethod
    def read(cls, embeddings: Artifact, label: str, table: Path | None) -> Self:
        """The images of embeddings; `label` and `table` say where labels are, as for `eval`."""
        labels = np.empty(embeddings.rows, object)
        labels[:] = read_labels(embeddings, label, table)
        return cls(embeddings=embeddings, labels=labels)

    def __len__(self) -> int:
        return self.embeddings.rows

    @cached_property
    def is_labelled(self) -> np.ndarray:
        """(n,) whether each image has a label."""
        return np.array([label is not None for label in self.labels], bool)

    @cached_property
    def classes(self) -> np.ndarray:
        """The label of each labelled image as a number from 0."""
        # As objects: an array of text pads each label to the longest.
        return np.unique(self.labels[self.is_labelled], return_inverse=True)[1]

    def keys(self) -> Sequence[str]:
        """The key of each image, which is unique in its shard only."""
        return self.embeddings.column("key")

    def full_keys(self) -> Sequence[str]:
        """SHARD:KEY of each image; PART:KEY if two parts have the same shard and key."""
        return image_names(self.embeddings)


def is_matched_by_key_alone(a: ImageSet, b: ImageSet, rows: np.ndarray) -> bool:
    """Whether all matched images (`rows` of `a`) are in other shards in `b`.

    Then they may be different images: keys that are row numbers are the same in all imports.
    """
    if a.embeddings.content == b.embeddings.content or not len(rows):
        return False
    return not set(a.full_keys()) & set(b.full_keys())


def match_rows(a: ImageSet, b: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the images that both hold, in `a` and in `b`, in the order of `a`.

    Images are matched by key; by SHARD:KEY if a key occurs twice.
    """
    if a.embeddings.content == b.embeddings.content:
        rows = np.arange(len(a))
        return rows, rows
    keys = a.keys(), b.keys()
    if any(len(set(names)) < len(names) for names in keys):
        keys = a.full_keys(), b.full_keys()
    row_of = {key: row for row, key in enumerate(keys[1])}
    pairs = [(row, row_of[key]) for row, key in enumerate(keys[0]) if key in row_of]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]
