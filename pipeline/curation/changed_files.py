"""Describes the files of a folder that changed since they were embedded, for error messages."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

from ...stages.sources.images.folders import image_path, utf8_name
from ...stages.sources.images.tree import walk
from ...store import Artifact, PartRecord
from ..wording import counted

_SHOWN = 3
"""Files that a message names."""


def describe_changes(embeddings: Artifact, root: Path, parts: Sequence[PartRecord]) -> str:
    """The first files below `root` that differ from these parts, in brackets; empty if none does.

    Contents are not read: a file counts as changed if it has another size, or was modified after
    the embeddings were made.
    """
    changes = list(_find_changes(embeddings, root, parts))
    if not changes:
        return ""
    more = f", and {counted(len(changes) - _SHOWN, 'more file')}" if len(changes) > _SHOWN else ""
    return f" ({', '.join(changes[:_SHOWN])}{more})"


def _find_changes(embeddings: Artifact, root: Path, parts: Sequence[PartRecord]) -> Iterator[str]:
    """Phrases on the differences; certain changes come first."""
    made_at, texts_by_key, newer = _made_at(embeddings), _find_images(root), []
    for part in parts:
        table = embeddings.table(part.name, columns=["key", "size"]).to_pydict()
        for key, size in zip(table["key"], table["size"], strict=True):
            path = image_path(root, key)
            if not path.is_file():
                yield f"{key} is gone"
            elif size is not None and path.stat().st_size != size:
                yield f"{key} has another size"
            else:
                files = (path, *texts_by_key.get(key, ()))
                newer += [file for file in files if _modified_at(file) > made_at]
    known_keys = _known_keys(embeddings, parts)
    folders = {PurePosixPath(key).parent for key in known_keys}
    for key in texts_by_key:
        if key not in known_keys and PurePosixPath(key).parent in folders:
            yield f"{key} was added"
    for file in newer:
        yield f"{utf8_name(file.relative_to(root).as_posix())} was written to later"


def _modified_at(file: Path) -> int:
    """The time of the last change, in whole seconds since 1970."""
    return int(file.stat().st_mtime)


def _made_at(embeddings: Artifact) -> float:
    """The time at which embeddings were made, in seconds since 1970; infinity without a date."""
    try:
        return datetime.fromisoformat(embeddings.manifest.date).timestamp()
    except (ValueError, OverflowError):
        return float("inf")


def _find_images(root: Path) -> Mapping[str, list[Path]]:
    """The text files of each image below a folder, by the image's key, in order."""
    return {
        utf8_name(str(PurePosixPath(folder) / image.name)): [
            root / folder / name for name in image.texts.values()
        ]
        for folder, images in walk(root)
        for image in images
    }


def _known_keys(embeddings: Artifact, parts: Sequence[PartRecord]) -> set[str]:
    """The keys of all images, also skipped ones, that were in the folders of these parts."""
    shards = {part.facts["shard"] for part in parts}
    return {
        key
        for part in embeddings.parts
        if part.facts["shard"] in shards
        for role in ("rows", "skipped")
        for key in embeddings.table(part.name, role, ["key"]).column(0).to_pylist()
    }
