"""The reader of MS-COCO: images of several objects, with captions."""

import contextlib
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .example import Example, Listing, Split, read_file


def read_coco(root: Path, splits: Sequence[str], download: bool) -> Listing:
    """CocoDetection: the objects of an image are its JSON field `objects`, not a label.

    If the files of captions are there too, the first caption of an image is its `.txt`, and all
    are its field `captions`.
    """
    opened = {name: _open(root, name, "instances") for name in splits}
    names = _names(next(iter(opened.values())))

    def split(name: str, dataset: Any) -> Split:
        is_captioned = (root / "annotations" / f"captions_{name}.json").is_file()
        captions = _open(root, name, "captions").coco if is_captioned else None
        example = partial(_example, root, name, dataset, captions, names)
        return Split(name=name, count=len(dataset), example=example)

    return Listing(
        classes=tuple(names.values()),
        splits=tuple(split(name, dataset) for name, dataset in opened.items()),
    )


def _open(root: Path, split: str, kind: str) -> Any:
    from torchvision.datasets import CocoDetection

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        return CocoDetection(root / split, str(root / "annotations" / f"{kind}_{split}.json"))


def _names(dataset: Any) -> dict[int, str]:
    """The names of the objects, by their numbers in the annotations."""
    coco = dataset.coco
    return {kind["id"]: kind["name"] for kind in coco.loadCats(sorted(coco.getCatIds()))}


def _example(
    root: Path, split: str, dataset: Any, captions: Any, names: dict[int, str], number: int
) -> Example:
    image = dataset.ids[number]
    file = dataset.coco.loadImgs(image)[0]["file_name"]
    objects = {names[entry["category_id"]] for entry in _annotations(dataset.coco, image)}
    fields: dict[str, Any] = {"objects": sorted(objects), "file": f"{split}/{file}"}
    texts = [] if captions is None else [e["caption"] for e in _annotations(captions, image)]
    if texts:
        fields["captions"] = texts
    return Example(
        key=f"{split}/{Path(file).stem}",
        read=partial(read_file, root / split / file),
        fields=fields,
        caption=texts[0] if texts else None,
    )


def _annotations(coco: Any, image: int) -> list[dict[str, Any]]:
    """The annotations of an image, in the order of their numbers."""
    return coco.loadAnns(sorted(coco.getAnnIds(image)))
