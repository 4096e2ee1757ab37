"""Pictures of rows, read out of their shards by byte range."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..stages.sources.images import UndecodableImage, decode
from ..store import Artifact, MissingError

if TYPE_CHECKING:
    from PIL import Image


def read_row(embeddings: Artifact, sources: Mapping[str, str], row: int) -> bytes:
    """The bytes of a row's picture, as they lie in its shard.

    MissingError when the embeddings came without pictures, or their shard is not where it was.
    """
    part, inside = embeddings.locate(row)
    columns = ["key", "shard", "offset", "size"]
    told = embeddings.table(part, columns=columns).slice(inside, 1).to_pylist()[0]
    path = Path(sources.get(part, ""))
    if told["offset"] is None or part not in sources:
        raise MissingError(
            f"{told['key']} of {told['shard']} has no picture in the store's reach: "
            "its embedding was imported"
        )
    try:
        with path.open("rb") as file:
            file.seek(told["offset"])
            return file.read(told["size"])
    except OSError as error:
        raise MissingError(
            f"the shard {path} cannot be read ({error.strerror}): put it back, or run "
            "`cpp-pipe embed` with where it lies now; nothing is embedded twice"
        ) from error


def open_row(embeddings: Artifact, sources: Mapping[str, str], row: int) -> "Image.Image":
    """The picture of a row, RGB; MissingError when its bytes are no longer what was embedded."""
    data = read_row(embeddings, sources, row)
    try:
        return decode(data).rgb
    except UndecodableImage as error:
        raise MissingError(
            f"the bytes of row {row} are no picture any more: its shard was changed since; "
            "embed it again"
        ) from error
