"""Pictures of rows, read again where they lie: in a shard, a folder or a table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...stages.sources.images.files import read_image_file
from ...stages.sources.images.folders import image_path
from ...stages.sources.images.pixels import UndecodableImage, decode
from ...stages.sources.patterns import is_remote
from ...stages.sources.remote import read_range
from ...stages.sources.tables.files import read_table_image
from ...store import Artifact, MissingError, ShardError

if TYPE_CHECKING:
    from PIL import Image

Row = Mapping[str, Any]
"""Key, shard, offset and size of a row, and the facts of its part."""


def read_row(embeddings: Artifact, sources: Mapping[str, str], row: int) -> bytes:
    """The bytes of a row's picture, as they were embedded.

    MissingError when the embeddings came without pictures, or these are not where they were.
    """
    part, inside = embeddings.locate(row)
    columns = ["key", "shard", "offset", "size"]
    told = embeddings.table(part, columns=columns).slice(inside, 1).to_pylist()[0]
    facts = embeddings.part_names[part].facts
    # Parts that were made before there were other sources than tars do not name theirs.
    source = facts.get("source", "tar" if told["offset"] is not None else "")
    if source not in _SOURCES or part not in sources:
        raise MissingError(
            f"{told['key']} of {told['shard']} has no picture in the store's reach: "
            "its embedding was imported"
        )
    flag, read = _SOURCES[source]
    try:
        return read(sources[part], {**facts, **told})
    except MissingError:
        raise
    except (OSError, ShardError, UndecodableImage) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MissingError(
            f"{told['key']} cannot be read from {sources[part]} ({why}): put it back, or run "
            f"`cpp-pipe embed {flag}` with where it lies now; nothing is embedded twice"
        ) from error


def _from_tar(place: str, row: Row) -> bytes:
    if is_remote(place):
        return read_range(place, row["offset"], row["size"])
    with Path(place).open("rb") as file:
        file.seek(row["offset"])
        return file.read(row["size"])


def _from_folder(place: str, row: Row) -> bytes:
    return read_image_file(image_path(Path(place), row["key"]))


def _from_table(place: str, row: Row) -> bytes:
    return read_table_image(Path(place), row["image_column"], row["key"])


_SOURCES: Mapping[str, tuple[str, Callable[[str, Row], bytes]]] = {
    "tar": ("--shards", _from_tar),
    "images": ("--images", _from_folder),
    "table": ("--table", _from_table),
}
"""For each kind of source the flag that names it, and how a picture is read again."""


def open_row(
    embeddings: Artifact, sources: Mapping[str, str], row: int, at_least: int | None = None
) -> "Image.Image":
    """The picture of a row, RGB; raises what `read_row` and `decode_row` do."""
    return decode_row(read_row(embeddings, sources, row), row, at_least)


def decode_row(data: bytes, row: int, at_least: int | None = None) -> "Image.Image":
    """The bytes of a row as a picture, RGB; of a JPEG, `at_least` so many pixels a side will do.

    MissingError when they are no longer what was embedded.
    """
    try:
        return decode(data, at_least=at_least).rgb
    except UndecodableImage as error:
        raise MissingError(
            f"the bytes of row {row} are no picture any more: what held it was changed since; "
            "embed it again"
        ) from error
