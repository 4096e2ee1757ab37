"""Writes a folder for each cluster with its images, to look at in a file manager."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..curation.files import whole_folder
from ..curation.members import suffix_of
from ..curation.sources import read_images, requiring_image
from ..view.captions import first_captions
from ..view.images import original_file
from .file_names import to_file_name
from .image_table import ImageTable


def export_folders(
    images: ImageTable, out: Path, places: Mapping[str, str], *, link: bool = False
) -> dict[str, int]:
    """Writes `NUMBER name/ROW-key.jpg`; returns the number of images in each folder.

    Images are copied byte for byte. With `link` they become symbolic links instead, which needs
    unchanged images in a folder. Excluded images are left out. `places` has the location of each
    part's source.
    """
    captions = {} if images.captions is None else dict(first_captions(images.captions))
    names = captions if images.edited is None else {**captions, **images.edited.names}
    digits = len(str(max(1, images.embeddings.rows - 1)))
    counts: dict[str, int] = {}
    with whole_folder(out) as folder, contextlib.ExitStack() as stack:
        contents = None
        if not link:
            # Not those that are excluded: they may be excluded because they cannot be read.
            encoded_images = read_images(images.embeddings, places, images.kept)
            contents = stack.enter_context(encoded_images)
        for row in _rows(images):
            if row.get("excluded"):
                continue
            encoded = b"" if contents is None else next(contents)
            name = _folder_of(row, names)
            if name not in counts:
                (folder / name).mkdir()
            counts[name] = counts.get(name, 0) + 1
            stem = f"{row['row']:0{digits}d}-{to_file_name(PurePosixPath(row['key']).stem)}"
            if contents is None:
                source = original_file(images.embeddings, places, row["row"])
                os.symlink(source, folder / name / f"{stem}{source.suffix}")
            else:
                with requiring_image(row["key"]):
                    (folder / name / f"{stem}.{suffix_of(encoded)}").write_bytes(encoded)
    return dict(sorted(counts.items()))


def _rows(images: ImageTable) -> Iterator[dict[str, Any]]:
    for table in images.tables(vectors=()):
        yield from table.to_pylist()


def _folder_of(row: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """The folder of a row: the number of its cluster, and the cluster's name or caption."""
    number = row.get("edited_cluster", row.get("cluster"))
    if number is None:
        return "images"
    return f"{number:04d} {to_file_name(names.get(number, ''))}".strip()
