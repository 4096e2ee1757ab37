"""Synthetic files of data sets in the layouts that torchvision reads: few images, few classes.

Checksums are torchvision's, and made files have others: where a class of torchvision checks them,
it is given those of the made files.
"""

import hashlib
import io
import json
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision import datasets

Expected = dict[str, tuple[str | None, str | None]]
"""For each key its class name and its split."""

Maker = Callable[[Path, pytest.MonkeyPatch], Expected]


def jpeg(path: Path, shade: int = 128) -> Path:
    """A small JPEG of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), (shade % 256, 90, 200)).save(path, format="JPEG")
    return path


def lines(path: Path, *texts: str) -> None:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts))


def md5(path: Path) -> str:
    """The checksum that torchvision compares."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def pixels(labels: np.ndarray, seed: int) -> np.ndarray:
    """Rows of CIFAR: noise over the colour of the class."""
    generator = np.random.default_rng(seed)
    colours = np.random.default_rng(7).integers(0, 200, (100, 3))
    noise = generator.integers(0, 56, (len(labels), 3, 32 * 32))
    return (colours[labels][:, :, None] + noise).reshape(len(labels), -1).astype(np.uint8)


def make_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch, per_batch: int = 4) -> Expected:
    """Five batches and the test batch, each with the classes in turn."""
    kind, folder = datasets.CIFAR10, root / datasets.CIFAR10.base_folder
    folder.mkdir(parents=True)
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    labels = np.arange(6 * per_batch) % len(names)
    files = [name for name, _ in (*kind.train_list, *kind.test_list)]
    for number, name in enumerate(files):
        own = labels[number * per_batch : (number + 1) * per_batch]
        _pickle(folder / name, {"data": pixels(own, number), "labels": own.tolist()})
    _pickle(folder / "batches.meta", {"label_names": names})
    _trust(monkeypatch, kind, folder)
    split = ["train"] * 5 * per_batch + ["test"] * per_batch
    numbers = [*range(5 * per_batch), *range(per_batch)]
    return {
        f"{part}/{number:05d}": (names[label], part)
        for part, number, label in zip(split, numbers, labels, strict=True)
    }


def make_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """One batch of training and one of test."""
    from cpp_pipe.pipeline.datasets.superclasses import SUPERCLASS

    kind, folder = datasets.CIFAR100, root / datasets.CIFAR100.base_folder
    folder.mkdir(parents=True)
    names = sorted(SUPERCLASS)
    expected: Expected = {}
    for split, own in (("train", np.array([0, 1, 99])), ("test", np.array([5, 0]))):
        content = {"data": pixels(own, 1), "fine_labels": own.tolist(), "coarse_labels": [0, 0, 0]}
        _pickle(folder / split, content)
        expected |= {f"{split}/{i:05d}": (names[label], split) for i, label in enumerate(own)}
    _pickle(folder / "meta", {"fine_label_names": names})
    _trust(monkeypatch, kind, folder)
    return expected


def _pickle(path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content))


def _trust(monkeypatch: pytest.MonkeyPatch, kind: Any, folder: Path) -> None:
    for files in ("train_list", "test_list"):
        own = [[name, md5(folder / name)] for name, _ in getattr(kind, files)]
        monkeypatch.setattr(kind, files, own)
    meta = {**kind.meta, "md5": md5(folder / kind.meta["filename"])}
    monkeypatch.setattr(kind, "meta", meta)


def make_caltech101(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Two categories, and the background, which is not a category."""
    images = root / "caltech101" / "101_ObjectCategories"
    expected: Expected = {}
    for name, count in (("BACKGROUND_Google", 1), ("Faces", 2), ("accordion", 3)):
        for number in range(1, count + 1):
            jpeg(images / name / f"image_{number:04d}.jpg", number)
            expected[f"{name}/image_{number:04d}"] = (name, None)
    return {key: value for key, value in expected.items() if not key.startswith("BACKGROUND")}


def make_pets(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """A cat and a dog in each split."""
    base, expected = root / "oxford-iiit-pet", {}
    for split, first in (("trainval", 1), ("test", 3)):
        listed = []
        for number in (first, first + 1):
            for label, (name, shown) in enumerate((("Abyssinian", "Abyssinian"), ("pug", "Pug"))):
                jpeg(base / "images" / f"{name}_{number}.jpg", number)
                listed.append(f"{name}_{number} {label + 1} {label + 1} 1")
                expected[f"{name}_{number}"] = (shown, split)
        lines(base / "annotations" / f"{split}.txt", *listed)
    return expected


def make_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Six flowers, two a split."""
    base, kind = root / "flowers-102", datasets.Flowers102
    labels = [1, 2, 3, 1, 102, 2]
    splits = {"trnid": [1, 2], "valid": [3, 4], "tstid": [5, 6]}
    for number in range(1, 7):
        jpeg(base / "jpg" / f"image_{number:05d}.jpg", number)
    scipy.io.savemat(base / "imagelabels.mat", {"labels": labels})
    scipy.io.savemat(base / "setid.mat", splits)
    files = dict(kind._file_dict)
    for name in ("label", "setid"):
        files[name] = (files[name][0], md5(base / files[name][0]))
    monkeypatch.setattr(kind, "_file_dict", files)
    named = {"trnid": "train", "valid": "val", "tstid": "test"}
    return {
        f"image_{number:05d}": (kind.classes[labels[number - 1] - 1], named[split])
        for split, numbers in splits.items()
        for number in numbers
    }


def make_dtd(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Two textures in each split."""
    base, expected = root / "dtd" / "dtd", {}
    for number, split in enumerate(("train", "val", "test")):
        names = [f"banded/banded_{number:04d}.jpg", f"dotted/dotted_{number:04d}.jpg"]
        for name in names:
            jpeg(base / "images" / name, number)
            expected[name.removesuffix(".jpg")] = (name.split("/")[0], split)
        lines(base / "labels" / f"{split}1.txt", *names)
    return expected


def make_aircraft(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Two variants in each split; names of variants hold spaces."""
    base, expected = root / "fgvc-aircraft-2013b" / "data", {}
    lines(base / "variants.txt", "707-320", "Boeing 717")
    for number, split in enumerate(("train", "val", "test")):
        listed = {f"{number}000001": "707-320", f"{number}000002": "Boeing 717"}
        for name in listed:
            jpeg(base / "images" / f"{name}.jpg", number)
        lines(base / f"images_variant_{split}.txt", *(f"{n} {v}" for n, v in listed.items()))
        expected |= {name: (variant, split) for name, variant in listed.items()}
    return expected


def make_cars(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Images of both splits have the same names."""
    base, classes = root / "stanford_cars", ["Acura TL Sedan 2012", "smart fortwo 2012"]
    (base / "devkit").mkdir(parents=True)
    scipy.io.savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(classes, object)})
    expected: Expected = {}
    tables = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    for split, table in tables.items():
        rows = np.zeros(2, [("fname", object), ("class", object)])
        for number, label in enumerate((2, 1)):
            name = f"{number + 1:05d}.jpg"
            jpeg(base / f"cars_{split}" / name, number)
            rows[number] = (name, label)
            expected[f"cars_{split}/{number + 1:05d}"] = (classes[label - 1], split)
        scipy.io.savemat(base / table, {"annotations": rows})
    return expected


def make_food(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Two dishes in each split."""
    base, expected = root / "food-101", {}
    (base / "meta").mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        listed = {name: [f"{name}/{number}"] for name in ("waffles", "apple_pie")}
        for name in listed:
            jpeg(base / "images" / name / f"{number}.jpg", number)
            expected[f"{name}/{number}"] = (name, split)
        (base / "meta" / f"{split}.json").write_text(json.dumps(listed))
    return expected


def make_sun(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Two scenes, one of which is a kind of another."""
    base = root / "SUN397"
    lines(base / "ClassName.txt", "/a/abbey", "/a/apse/indoor")
    expected: Expected = {}
    for scene in ("abbey", "apse/indoor"):
        for number in range(3):
            jpeg(base / "a" / scene / f"sun_{number}.jpg", number)
            expected[f"a/{scene}/sun_{number}"] = (scene, None)
    return expected


def make_eurosat(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Two kinds of land."""
    expected: Expected = {}
    for name in ("AnnualCrop", "River"):
        for number in (1, 2):
            jpeg(root / "eurosat" / "2750" / name / f"{name}_{number}.jpg", number)
            expected[f"{name}/{name}_{number}"] = (name, None)
    return expected


def make_ucf_frames(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Middle frames that were extracted elsewhere, and the first of the three lists."""
    expected: Expected = {}
    for split, number in (("train", 8), ("test", 1)):
        listed = []
        for label, name in enumerate(("Archery", "YoYo")):
            video = f"{name}/v_{name}_g{number:02d}_c01"
            jpeg(root / "UCF-101-midframes" / f"{video}.jpg", number)
            listed.append(f"{video}.avi {label + 1}" if split == "train" else f"{video}.avi")
            expected[video] = (name, split)
        lines(root / "ucfTrainTestlist" / f"{split}list01.txt", *listed)
    return expected


def make_coco(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Images of several objects; only those of training have captions."""
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    expected: Expected = {}
    for split, first in (("train2017", 9), ("val2017", 30)):
        images = []
        for number in (first, first + 1):
            name = f"{number:012d}.jpg"
            jpeg(root / split / name, number)
            images.append({"id": number, "file_name": name, "height": 16, "width": 24})
            expected[f"{split}/{number:012d}"] = (None, split)
        objects = [(first, 18), (first, 1), (first, 1)]
        records = [
            {"id": place, "image_id": image, "category_id": kind, "bbox": [0, 0, 1, 1]}
            for place, (image, kind) in enumerate(objects)
        ]
        whole = {"images": images, "annotations": records, "categories": categories}
        _json(root / "annotations" / f"instances_{split}.json", whole)
    images = [{"id": 9, "file_name": "000000000009.jpg"}]
    annotations = [
        {"id": 5, "image_id": 9, "caption": "A dog."},
        {"id": 2, "image_id": 9, "caption": "Two."},
    ]
    _json(
        root / "annotations" / "captions_train2017.json",
        {"images": images, "annotations": annotations},
    )
    return expected


def _json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make_ucf_videos(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """Videos of five frames, the shade of which rises by 40 a frame."""
    expected: Expected = {}
    for split, number in (("train", 8), ("test", 1)):
        listed = []
        for label, name in enumerate(("Archery", "YoYo")):
            video = f"{name}/v_{name}_g{number:02d}_c01"
            path = root / "UCF-101" / f"{video}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_avi([_frame(40 * shade) for shade in range(5)]))
            listed.append(f"{video}.avi {label + 1}" if split == "train" else f"{video}.avi")
            expected[video] = (name, split)
        lines(root / "ucfTrainTestlist" / f"{split}list01.txt", *listed)
    return expected


def _frame(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, shade, shade)).save(file, format="JPEG")
    return file.getvalue()


def _avi(frames: list[bytes]) -> bytes:
    """A video of 25 JPEGs a second, 32 pixels wide and high."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    count = len(frames)
    main = struct.pack("<14I", 40_000, 0, 0, 0x10, count, 0, 1, 0, 32, 32, 0, 0, 0, 0)
    stream = b"vidsMJPG" + struct.pack("<3I5I2I4H", 0, 0, 0, 1, 25, 0, count, 0, 0, 0, 0, 0, 32, 32)
    form = (
        struct.pack("<3I2H", 40, 32, 32, 1, 24)
        + b"MJPG"
        + struct.pack("<5I", 32 * 32 * 3, 0, 0, 0, 0)
    )
    header = b"hdrl" + chunk(b"avih", main)
    header += chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", form))
    movie, index = b"movi", b""
    for frame in frames:
        index += b"00dc" + struct.pack("<3I", 0x10, len(movie), len(frame))
        movie += chunk(b"00dc", frame)
    whole = chunk(b"LIST", header) + chunk(b"LIST", movie) + chunk(b"idx1", index)
    return chunk(b"RIFF", b"AVI " + whole)


WORDS = {"n01440764": ("tench", "Tinca tinca"), "n01443537": ("goldfish",)}


def make_imagenet(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """The unpacked archives: a folder for each class, and the names of the classes."""
    expected: Expected = {}
    for split, stem in (("train", "{wnid}_1"), ("val", "ILSVRC2012_val_{wnid}")):
        for wnid, names in WORDS.items():
            name = stem.format(wnid=wnid)
            jpeg(root / split / wnid / f"{name}.JPEG")
            expected[f"{split}/{wnid}/{name}"] = (", ".join(names), split)
    torch.save((WORDS, list(WORDS)), root / "meta.bin")
    return expected


def make_imagenet_archives(root: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """The three archives as they are downloaded; torchvision unpacks them into their folder."""
    scratch, expected = root / "scratch", {}
    synsets = np.zeros(
        3, [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    )
    for number, (wnid, names) in enumerate(WORDS.items()):
        synsets[number] = (number + 1, wnid, ", ".join(names), "", 0)
        images = [jpeg(scratch / wnid / f"{wnid}_{image}.JPEG", image) for image in (10, 7)]
        _tar(scratch / "train" / f"{wnid}.tar", images)
        expected |= {f"train/{wnid}/{image.stem}": (", ".join(names), "train") for image in images}
    synsets[2] = (1001, "n00001740", "entity", "", 2)  # above the classes in WordNet
    devkit = scratch / "ILSVRC2012_devkit_t12"
    lines(devkit / "data" / "ILSVRC2012_validation_ground_truth.txt", "2", "1", "2")
    scipy.io.savemat(devkit / "data" / "meta.mat", {"synsets": synsets})
    images = [jpeg(scratch / f"ILSVRC2012_val_{n:08d}.JPEG", n) for n in (1, 2, 3)]
    for image, wnid in zip(images, ("n01443537", "n01440764", "n01443537"), strict=True):
        expected[f"val/{wnid}/{image.stem}"] = (", ".join(WORDS[wnid]), "val")
    contents = {"train": [*(scratch / "train").iterdir()], "val": images, "devkit": [devkit]}
    for kind, (name, _) in list(datasets.imagenet.ARCHIVE_META.items()):
        _tar(root / name, contents[kind], mode="w:gz" if name.endswith("gz") else "w")
        monkeypatch.setitem(datasets.imagenet.ARCHIVE_META, kind, (name, md5(root / name)))
    shutil.rmtree(scratch)
    return expected


def _tar(path: Path, files: Sequence[Path], mode: Literal["w", "w:gz"] = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for file in files:
            tar.add(file, file.name)


MAKERS: Mapping[str, Maker] = {
    "cifar10": make_cifar10,
    "cifar20": make_cifar100,
    "cifar100": make_cifar100,
    "caltech101": make_caltech101,
    "oxford-pets": make_pets,
    "flowers102": make_flowers,
    "dtd": make_dtd,
    "aircraft": make_aircraft,
    "stanford-cars": make_cars,
    "food101": make_food,
    "sun397": make_sun,
    "eurosat": make_eurosat,
    "ucf101": make_ucf_frames,
    "coco": make_coco,
    "imagenet": make_imagenet,
}
"""For each data set of the catalog."""
