"""Tar shards in the WebDataset format, in which every sample has its cluster as its class."""

import json
from pathlib import Path

from ...stages.sources.tar.writer import key_of
from ..curation.files import whole_folder
from ..curation.members import ChosenRow, Copier
from ..curation.shard_writer import MANIFEST, Shards, write_manifest
from .file_names import without_suffix
from .labelled_images import LabelledImage, LabelledImages

CLASSES = "classes.json"


def export_webdataset(images: LabelledImages, out: Path, samples_per_shard: int) -> int:
    """Writes `00000.tar` and so on, `classes.json` and `manifest.parquet`; the number of shards.

    A sample is an image, byte for byte, `.cls` (its place in `classes.json`) and `.json` (what is
    known of it, decisions included). `curate` copies samples as they are, and adds nothing.
    """
    with whole_folder(out) as folder:
        names = json.dumps(list(images.classes.values()), ensure_ascii=False, indent=1)
        (folder / CLASSES).write_text(f"{names}\n", encoding="utf-8", newline="\n")
        maker = Copier(folder)
        with Shards(folder, "", samples_per_shard) as shards:
            for image in images:
                row = ChosenRow(number=image.row, key=image.key, offset=None, size=None)
                fields = json.dumps(_fields(image), ensure_ascii=False, allow_nan=False)
                others = {"cls": str(image.label).encode(), "json": fields.encode()}
                key = key_of(without_suffix(image.key))
                shards.add(image.shard, maker.make(row, key, image.suffix, image.encoded, others))
        write_manifest(folder / MANIFEST, shards.rows)
        return len(shards.paths)


def _fields(image: LabelledImage) -> dict[str, object]:
    return {
        "cluster": image.cluster,
        "name": image.name,
        "confidence": image.confidence,
        "tags": image.tags,
        "label": image.given_label,
        "caption": image.caption,
        "key": image.key,
        "shard": image.shard,
    }
