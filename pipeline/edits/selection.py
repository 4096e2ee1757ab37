"""Selects the images of a decision by keys, by a file of keys, or by a text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...stages.rows.artifact_rows import iterate
from ...store import ConfigError, QueryError
from ..curation.selection import read_names
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
    """The rows of the named images, and of those whose cosine with a text is `above` or more.

    QueryError for a key that does not exist, and if no image is like the text.
    """
    embeddings = run.artifact("embeddings")
    names = [*keys, *(read_names(embeddings, file, "--keys") if file else ())]
    is_selected = np.zeros(embeddings.rows, bool)
    if names:
        is_selected[rows_of_keys(embeddings, names)] = True
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
        is_selected |= cosines >= above
    elif above is not None:
        raise ConfigError("--above goes with --text")
    return is_selected.nonzero()[0]
