"""Readers of data sets: each lists images and labels through a class of torchvision.

Files are not decoded, because shards hold their bytes as they are: torchvision is given a loader
that returns the path.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...store import ConfigError
from .example import Example, Listing, Split, read_file, read_pixels
from .superclasses import SUPERCLASS

Reader = Callable[[Path, Sequence[str], bool], Listing]
"""Lists splits of a data set in a folder; the last argument says whether to download it first."""


def read_cifar(root: Path, splits: Sequence[str], download: bool, *, kind: str) -> Listing:
    """CIFAR10 or CIFAR100; the images of the latter also get their superclass, `coarse_label`."""
    from torchvision import datasets

    opened = {
        name: getattr(datasets, kind)(root, train=name == "train", download=download)
        for name in splits
    }
    classes = _shared_classes({name: dataset.classes for name, dataset in opened.items()})

    def example(dataset: Any, name: str, number: int) -> Example:
        label = int(dataset.targets[number])
        coarse = SUPERCLASS.get(classes[label]) if kind == "CIFAR100" else None
        return Example(
            key=f"{name}/{number:05d}",
            read=partial(read_pixels, dataset.data[number]),
            label=label,
            fields={} if coarse is None else {"coarse_label": coarse},
        )

    return Listing(
        classes=classes,
        splits=tuple(
            Split(name=name, count=len(dataset), example=partial(example, dataset, name))
            for name, dataset in opened.items()
        ),
    )


def read_files(
    root: Path,
    splits: Sequence[str],
    download: bool,
    *,
    kind: str,
    images: str,
    is_sorted: bool = False,
) -> Listing:
    """A class of torchvision that takes a loader; keys are paths below the folder `images`.

    `is_sorted` sorts by path; use it for sets that torchvision lists in the order of the disk.
    """
    from torchvision import datasets

    def open_split(name: str | None) -> Any:
        options: dict[str, Any] = {} if name is None else {"split": name}
        if kind != "ImageNet":  # ImageNet cannot be downloaded, and takes no such flag
            options["download"] = download
        return getattr(datasets, kind)(root, loader=Path, **options)

    opened = {name: open_split(name) for name in splits or (None,)}

    def item(dataset: Any, number: int) -> tuple[Path, int]:
        path, label = dataset[number]
        return path, int(label)

    return _list_files(opened, item, root / images, is_sorted=is_sorted)


def read_pets(root: Path, splits: Sequence[str], download: bool) -> Listing:
    """OxfordIIITPet, which takes no loader."""
    from torchvision import datasets

    opened = {name: datasets.OxfordIIITPet(root, split=name, download=download) for name in splits}

    def item(dataset: Any, number: int) -> tuple[Path, int]:
        # Its public methods decode each image (torchvision 0.29).
        return dataset._images[number], dataset._labels[number]

    return _list_files(opened, item, root / "oxford-iiit-pet" / "images")


def read_caltech(root: Path, splits: Sequence[str], download: bool) -> Listing:
    """Caltech101, which takes no loader and has no splits."""
    from torchvision import datasets

    images = root / "caltech101" / "101_ObjectCategories"
    background = images / "BACKGROUND_Google"
    # torchvision removes it from its list of categories without checking that it is there (0.29).
    if images.is_dir() and not background.is_dir():
        raise OSError(
            f"{background} is missing: torchvision leaves its images out, so an empty folder of "
            "that name is enough"
        )
    dataset = datasets.Caltech101(root, download=download)

    def item(dataset: Any, number: int) -> tuple[Path, int]:
        label = dataset.y[number]
        name = f"image_{dataset.index[number]:04d}.jpg"
        return images / dataset.categories[label] / name, label

    return _list_files({None: dataset}, item, images)


def _list_files(
    opened: Mapping[Any, Any],
    item: Callable[[Any, int], tuple[Path, int]],
    images: Path,
    *,
    is_sorted: bool = False,
) -> Listing:
    """The listing of data sets that are files, by split; `item` gives a path and a label."""
    classes = _shared_classes({name: _class_names(dataset) for name, dataset in opened.items()})

    def example(dataset: Any, order: Sequence[int], number: int) -> Example:
        path, label = item(dataset, order[number])
        inside = path.relative_to(images)
        return Example(
            key=inside.with_suffix("").as_posix(),
            read=partial(read_file, path),
            label=label,
            fields={"file": inside.as_posix()},
        )

    def split(name: str | None, dataset: Any) -> Split:
        order: Sequence[int] = range(len(dataset))
        if is_sorted:
            order = sorted(order, key=lambda number: item(dataset, number)[0].as_posix())
        return Split(name=name, count=len(dataset), example=partial(example, dataset, order))

    return Listing(
        classes=classes, splits=tuple(split(name, dataset) for name, dataset in opened.items())
    )


def _class_names(dataset: Any) -> list[str]:
    names = dataset.categories if hasattr(dataset, "categories") else dataset.classes
    # An ImageNet class has several names.
    return [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]


def _shared_classes(by_split: Mapping[Any, Sequence[str]]) -> tuple[str, ...]:
    """The classes of all splits; ConfigError if they differ, since labels are their numbers."""
    first, *others = by_split
    for name in others:
        if list(by_split[name]) != list(by_split[first]):
            raise ConfigError(
                f"the classes of the split {name} differ from those of {first}: files are missing"
            )
    return tuple(by_split[first])
