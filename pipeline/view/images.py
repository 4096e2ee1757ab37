"""Images of rows, read again from their sources: a shard, a folder or a table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...stages.sources.images.files import read_image_file
from ...stages.sources.images.folders import image_path
from ...stages.sources.images.pixels import UndecodableImage, decode
from ...stages.sources.patterns import is_remote
from ...stages.sources.remote import read_range
from ...stages.sources.tables.files import read_table_image
from ...store import Artifact, MissingError, PartRecord, ShardError
from .columns import read_rows
from .source_identity import require_inside, require_same_shard, require_same_table

if TYPE_CHECKING:
    from PIL import Image

Row = Mapping[str, Any]
"""Key, shard, offset and size of a row, its part, and the facts of the part."""


IMAGE_COLUMNS = ("key", "shard", "offset", "size")
"""The columns by which the image of a row is found."""


def read_row(embeddings: Artifact, sources: Mapping[str, str], row: int) -> bytes:
    """The encoded image of a row, as it was embedded.

    MissingError if the embeddings were imported without images, or the source is gone.
    """
    embeddings.locate(row)  # raises for a row that does not exist
    (columns,) = read_rows(embeddings, [row], IMAGE_COLUMNS)
    return read_image(embeddings, sources, row, columns)


def read_image(
    embeddings: Artifact, sources: Mapping[str, str], row: int, columns: Mapping[str, Any]
) -> bytes:
    """`read_row` for callers that have the row's `IMAGE_COLUMNS` already."""
    part, _ = embeddings.locate(row)
    facts = embeddings.part_names[part].facts
    # Older parts, made when tars were the only sources, do not name theirs.
    source = facts.get("source", "tar" if columns["offset"] is not None else "")
    if source not in _SOURCES or part not in sources:
        raise MissingError(
            f"{columns['key']} of {columns['shard']} has no image: its embedding was imported"
        )
    flag, read = _SOURCES[source]
    try:
        return read(sources[part], {**facts, **columns, "part": part})
    except MissingError:
        raise
    except (OSError, ShardError, UndecodableImage) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MissingError(
            f"{columns['key']} cannot be read from {sources[part]} ({reason}): put it back, or run "
            f"`cpp-pipe embed {flag}` with where it lies now; nothing is embedded twice"
        ) from error


def original_file(embeddings: Artifact, sources: Mapping[str, str], row: int) -> Path:
    """The file of a row's image in the folder that it was embedded from.

    MissingError if it does not lie in a folder of this machine, or is not what was embedded.
    """
    part, _ = embeddings.locate(row)
    (columns,) = read_rows(embeddings, [row], ("key", "shard"))
    if embeddings.part_names[part].facts.get("source") != "images" or part not in sources:
        raise MissingError(
            f"{columns['key']} of {columns['shard']} does not lie in a folder, so it cannot be "
            "linked: leave --link out, which copies"
        )
    read_row(embeddings, sources, row)  # raises if it was changed
    return image_path(Path(sources[part]), columns["key"]).absolute()


def _from_tar(place: str, row: Row) -> bytes:
    require_same_shard(place, row["part"], row.get("sha256", ""))
    if is_remote(place):
        return read_range(place, row["offset"], row["size"])
    with Path(place).open("rb") as file:
        file.seek(row["offset"])
        return file.read(row["size"])


def _from_folder(place: str, row: Row) -> bytes:
    require_inside(Path(place), row["key"])
    encoded = read_image_file(image_path(Path(place), row["key"]))
    if row["size"] is not None and len(encoded) != row["size"]:
        raise ShardError("the file was changed since it was embedded")
    return encoded


def _from_table(place: str, row: Row) -> bytes:
    path, column = Path(place), row["image_column"]
    require_same_table(path, column, row["part"], row.get("sha256", ""))
    return read_table_image(path, column, row["key"])


_SOURCES: Mapping[str, tuple[str, Callable[[str, Row], bytes]]] = {
    "tar": ("--shards", _from_tar),
    "images": ("--images", _from_folder),
    "table": ("--table", _from_table),
}
"""The flag of each kind of source, and the function that reads an image from it."""


def source_kind(part: PartRecord, embeddings: Artifact) -> str:
    """`tar`, `images` or `table`; empty if embeddings were imported."""
    if "source" in part.facts or not part.rows:
        return part.facts.get("source", "")
    # Older parts, made when tars were the only sources, do not name theirs.
    offset = embeddings.table(part.name, columns=["offset"]).column(0)
    return "tar" if offset.null_count < len(offset) else ""


def came_with_images(embeddings: Artifact) -> bool:
    """Whether any row was embedded from an image; False if all embeddings were imported."""
    return any(source_kind(part, embeddings) for part in embeddings.parts)


def open_row(
    embeddings: Artifact, sources: Mapping[str, str], row: int, at_least: int | None = None
) -> "Image.Image":
    """The image of a row, RGB; raises what `read_row` and `decode_row` do."""
    return decode_row(read_row(embeddings, sources, row), row, at_least)


def decode_row(data: bytes, row: int, at_least: int | None = None) -> "Image.Image":
    """The encoded image of a row, decoded to RGB; MissingError if it cannot be decoded any more.

    It is turned upright as its EXIF orientation says, whether or not it was embedded so. A JPEG may
    be decoded smaller, to `at_least` pixels a side.
    """
    try:
        return decode(data, at_least=at_least, upright=True).rgb
    except UndecodableImage as error:
        raise MissingError(
            f"row {row} is no longer an image, as its source was changed: embed it again"
        ) from error
