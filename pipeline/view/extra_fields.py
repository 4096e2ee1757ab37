"""The other fields of images: JSON in the column `extra`, which anybody may have written."""

import json
from typing import Any

from ...store import StoreError
from ...store.errors import one_line

_SHOWN = 60
"""Characters of wrong fields that a message shows."""


def parse_extra(text: str) -> dict[str, Any]:
    """The fields of an image by name; StoreError if they are no JSON object."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise StoreError(
            f"the embeddings hold fields of an image that are no JSON object: "
            f"{one_line(text[:_SHOWN])!r}; they were changed by hand: embed the images again"
        )
    return fields
