"""Writes a COCO folder: images, and `annotations.json` with a box around each whole image."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..curation.files import whole_folder
from .file_names import FileNames
from .labelled_images import LabelledImage, LabelledImages


def export_coco(images: LabelledImages, out: Path) -> None:
    """Writes `images/`, byte for byte, and `annotations.json`.

    Categories are the clusters, numbered from 1 in order. Ids of images and annotations are row
    numbers + 1, because for pycocotools the id 0 means none.
    """
    names = FileNames()
    with (
        whole_folder(out) as folder,
        (folder / "annotations.json").open("w", encoding="utf-8", newline="\n") as file,
        # The file's second list, which is appended after the first one is complete.
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder) as annotations,
    ):
        (folder / "images").mkdir()
        file.write('{"info": {"description": "Clusters of images, by cpp-pipe"},\n')
        file.write(f'"licenses": [],\n"categories": {_dump(_categories(images.classes))},\n')
        file.write('"images": [')
        for count, image in enumerate(images):
            name = names.name(image.key, image.suffix)
            (folder / "images" / name).write_bytes(image.encoded)
            _add(file.write, count, _image(image, name))
            _add(annotations.write, count, _annotation(image))
        file.write('\n],\n"annotations": [')
        annotations.seek(0)
        for line in annotations:
            file.write(line)
        file.write("\n]}\n")


def _categories(classes: Mapping[int, str]) -> list[dict[str, Any]]:
    return [
        {"id": label + 1, "name": name, "supercategory": "cluster", "cluster": number}
        for label, (number, name) in enumerate(classes.items())
    ]


def _image(image: LabelledImage, name: str) -> dict[str, Any]:
    return {
        "id": image.row + 1,
        "file_name": name,
        "width": image.width,
        "height": image.height,
        "key": image.key,
        "shard": image.shard,
    }


def _annotation(image: LabelledImage) -> dict[str, Any]:
    width, height = image.width, image.height
    return {
        "id": image.row + 1,
        "image_id": image.row + 1,
        "category_id": image.label + 1,
        "bbox": [0, 0, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [[0, 0, width, 0, width, height, 0, height]],
        "confidence": image.confidence,
        "tags": image.tags,
        "key": image.key,
        "shard": image.shard,
    }


def _add(write: Callable[[str], object], count: int, entry: Mapping[str, Any]) -> None:
    write(f"{',' if count else ''}\n{_dump(entry)}")


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
