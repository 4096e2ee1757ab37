"""Scores of rows as the columns of a table: what they are named, and how they are written."""

import re
import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...store import ConfigError, Scratch
from ...store.kinds import EMBEDDINGS
from ...store.specs import NAME

if TYPE_CHECKING:
    import numpy as np

IMAGE_SCORES = "scores/image"
"""The slot of scores measured on the pixels; other scores are in slots of their own names."""

MEASURED = ("sharpness", "brightness", "contrast", "colourfulness", "megapixels", "aspect")
"""The scores measured on the pixels of an image."""

_LONGEST = 60
"""Most characters of a name."""

_TAKEN = {
    *MEASURED, "image", "row", "cluster", "confidence", "novelty", "cluster_caption",
    "cluster_name", "edited_cluster", "tags", "excluded", "note", "duplicate_of", "feature",
    *(column.name for column in EMBEDDINGS.table().columns),
}  # fmt: skip
"""Names of other columns that scores are shown beside."""


def require_name(name: str) -> None:
    """ConfigError if a score cannot have a name."""
    is_name = isinstance(name, str) and re.fullmatch(NAME, name) and len(name) <= _LONGEST
    if not is_name:
        raise ConfigError(
            "a score's name must begin with a small letter, followed by small letters, digits and "
            f"underscores, at most {_LONGEST} characters, got {reprlib.repr(name)}"
        )
    if name in _TAKEN:
        raise ConfigError(f"a score must not be named {name!r}, which means something else")


def write_scores(scratch: Scratch, names: Sequence[str], values: "np.ndarray") -> None:
    """Writes the rows of a part (n, scores); NaN becomes null."""
    import numpy as np
    import pyarrow as pa

    columns = {
        name: pa.array(np.ascontiguousarray(values[:, place], np.float32), from_pandas=True)
        for place, name in enumerate(names)
    }
    scratch.write_table("rows", columns, numbers=names)
