"""The images that a decision is about, by their keys, by a file of keys, or by a text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...stages.rows.artifact_rows import iterate
from ...store import ConfigError, QueryError
from ..curation.selection import read_keys
from ..view.keys import rows_of_keys
from ..view.opened_run import OpenedRun


def select_images(
    run: OpenedRun,
    *,
    keys: Sequence[str] = (),
    file: Path | None = None,
    text: str | None = None,
    above: float | None = None,
) -> np.ndarray:
    """The rows of the named images and of those whose embedding is like a text, ascending.

    `above` is the least cosine with the text. QueryError for a key that does not exist, and if
    a text is like no image.
    """
    embeddings = run.artifact("embeddings")
    names = [*keys, *(read_keys(file, "--keys") if file else ())]
    rows = np.zeros(embeddings.rows, bool)
    if names:
        rows[rows_of_keys(embeddings, names)] = True
    if text is not None:
        if above is None:
            raise ConfigError("--text needs --above, the least cosine of images with the text")
        query = run.encoder.texts([text])[0]
        cosines = np.concatenate(
            [block.astype(np.float32) @ query for _, block in iterate(embeddings)]
        )
        if not (cosines >= above).any():
            raise QueryError(
                f"no image has a cosine of {above:g} or more with {text!r}: the highest is "
                f"{cosines.max():.3f}"
            )
        rows |= cosines >= above
    elif above is not None:
        raise ConfigError("--above goes with --text")
    return rows.nonzero()[0]
