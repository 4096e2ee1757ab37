"""Writes a folder for each class, for torchvision, Keras and datasets; optionally with a split."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..curation.files import whole_folder
from ..view.columns import take_rows
from .file_names import FileNames, fold_case, make_unique, to_file_name
from .labelled_images import LabelledImages

TRAIN, TEST = "train", "test"
CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class Split:
    """The numbers of images in the folders `train` and `test`."""

    train: int
    test: int
    alone: int
    """The number of classes with one image, which `test` lacks."""


def export_imagefolder(
    images: LabelledImages, out: Path, share: float | None = None
) -> Split | None:
    """Writes `CLASS/KEY.jpg`, byte for byte; with a share `train/CLASS/` and `test/CLASS/`.

    An image's key alone decides its side, so it keeps it when images are added. If a class would
    have no image on one side, the image nearest to the limit changes sides. `README.md` lists the
    files, because datasets would take a class such as "test tube" for a test set.
    """
    names = FileNames()
    folders = _class_folders(images)
    in_train = None if share is None else _divide(images, share)
    counts = {TRAIN: 0, TEST: 0}
    with whole_folder(out) as folder:
        (folder / CARD).write_text(_card(share is not None), encoding="utf-8", newline="\n")
        for image in images:
            side = "" if in_train is None else (TRAIN if in_train[image.row] else TEST)
            if side:
                counts[side] += 1
            place = folder / side / folders[image.cluster]
            place.mkdir(parents=True, exist_ok=True)
            name = names.name(image.key, image.suffix, str(place))
            (place / name).write_bytes(image.encoded)
    if in_train is None:
        return None
    alone = np.unique(images.clusters[images.kept], return_counts=True)[1] == 1
    return Split(train=counts[TRAIN], test=counts[TEST], alone=int(alone.sum()))


def _class_folders(images: LabelledImages) -> dict[int, str]:
    """The folder of each cluster, none of which has the name of the card.

    `datasets` would skip names with two leading underscores.
    """
    names = {
        number: re.sub("^_+", "_", to_file_name(name)) or f"cluster {number}"
        for number, name in images.classes.items()
    }
    card = -1  # no cluster's number
    unique = make_unique({**names, card: CARD}, fold_case)
    return {number: unique[number] for number in names}


def _divide(images: LabelledImages, share: float) -> np.ndarray:
    """Whether each row is for `train`, bool (n,); about this share of the rows is."""
    keys = take_rows(images.table.embeddings, images.kept, ["key"]).column(0).to_pylist()
    place = np.array([_hash_to_unit(key) for key in keys])
    is_first = place < share
    clusters = images.clusters[images.kept]
    order = np.lexsort((place, clusters))
    for own in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
        is_first[own[0]] = True
        if len(own) > 1:
            is_first[own[-1]] = False
    in_train = np.zeros(len(images.clusters), bool)  # of all rows, not those of --where
    in_train[images.kept] = is_first
    return in_train


def _hash_to_unit(key: str) -> float:
    """A pseudorandom number from 0 to 1 that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def _card(is_divided: bool) -> str:
    files = {TRAIN: f"{TRAIN}/*/*", TEST: f"{TEST}/*/*"} if is_divided else {TRAIN: "*/*"}
    lines = [f"  - split: {split}\n    path: {json.dumps(path)}" for split, path in files.items()]
    return (
        "---\nconfigs:\n- config_name: default\n  data_files:\n" + "\n".join(lines) + "\n---\n\n"
        "A folder a class, written by `cpp-pipe export imagefolder`.\n"
    )
