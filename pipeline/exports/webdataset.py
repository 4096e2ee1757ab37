"""Writes tar shards in the WebDataset format, in which the class of a sample is its cluster."""

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
    """Writes `00000.tar` and so on, `classes.json` and `manifest.parquet`.

    Returns the number of shards. A sample has its image, byte for byte, `.cls` (the index of its
    class in `classes.json`) and `.json` (further facts, with decisions). `curate`, in contrast,
    copies samples as they are.
    """
    with whole_folder(out) as folder:
        names = json.dumps(list(images.classes.values()), ensure_ascii=False, indent=1)
        (folder / CLASSES).write_text(f"{names}\n", encoding="utf-8", newline="\n")
        copier = Copier(folder)
        with Shards(folder, "", samples_per_shard) as shards:
            for image in images:
                row = ChosenRow(number=image.row, key=image.key, offset=None, size=None)
                fields = json.dumps(_fields(image), ensure_ascii=False, allow_nan=False)
                texts = {"cls": str(image.label).encode(), "json": fields.encode()}
                key = key_of(without_suffix(image.key))
                shards.add(image.shard, copier.make(row, key, image.suffix, image.encoded, texts))
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
