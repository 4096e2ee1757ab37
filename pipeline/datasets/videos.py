"""The reader of UCF101: the middle frame of each video."""

import importlib.util
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...stages.sources.images.pixels import UndecodableImage
from ...store import ConfigError
from .example import Example, Listing, Split, read_file, read_pixels

VIDEOS = "UCF-101"
FRAMES = "UCF-101-midframes"
"""A folder of middle frames that were extracted elsewhere, as CoOp distributes them."""
LISTS = "ucfTrainTestlist"

_FOLD = 1
"""Of the three divisions into train and test: the one that papers report."""


def read_ucf101(root: Path, splits: Sequence[str], download: bool) -> Listing:
    """UCF101, whose videos torchvision decodes with torchcodec; or a folder of middle frames."""
    if (root / FRAMES).is_dir():
        return _read_frames(root, splits)
    if importlib.util.find_spec("torchcodec") is None:
        raise ConfigError(
            "torchvision reads videos with torchcodec: pip install 'cpp-pipe[video]', and FFmpeg "
            f"by your system; or put middle frames into {root / FRAMES}/CLASS/VIDEO.jpg"
        )
    return _read_videos(root, splits)


def _read_videos(root: Path, splits: Sequence[str]) -> Listing:
    from torchvision.datasets import UCF101

    def open_split(name: str) -> Any:
        return UCF101(
            root / VIDEOS,
            str(root / LISTS),
            frames_per_clip=1,
            fold=_FOLD,
            train=name == "train",
            num_workers=0,
            # A list of all videos, which the first split has decoded, serves the second.
            _precomputed_metadata=next((d.metadata for d in opened.values()), None),
        )

    opened: dict[str, Any] = {}
    for name in splits:
        opened[name] = open_split(name)
    classes = tuple(next(iter(opened.values())).classes)

    def example(dataset: Any, number: int) -> Example:
        path = Path(dataset.video_clips.video_paths[number])
        inside = path.relative_to(root / VIDEOS)
        return Example(
            key=inside.with_suffix("").as_posix(),
            read=partial(_middle_frame, dataset, number),
            label=classes.index(inside.parts[0]),
            fields={"file": inside.as_posix()},
        )

    return Listing(
        classes=classes,
        splits=tuple(
            Split(name=name, count=len(dataset.indices), example=partial(example, dataset))
            for name, dataset in opened.items()
        ),
    )


def _middle_frame(dataset: Any, number: int) -> tuple[str, bytes]:
    """The middle frame of a video as a PNG: each clip of torchvision's list is one frame."""
    clips = dataset.video_clips
    first = clips.cumulative_sizes[number - 1] if number else 0
    frames = clips.cumulative_sizes[number] - first
    try:
        video, _, _ = dataset[first + frames // 2]
    except RuntimeError as error:  # of torchcodec
        raise UndecodableImage("undecodable", str(error)) from error
    return read_pixels(video[0].numpy())


def _read_frames(root: Path, splits: Sequence[str]) -> Listing:
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(str(root / FRAMES), loader=Path)
    places = {Path(path).stem: number for number, (path, _) in enumerate(dataset.samples)}
    by_split = {name: _places_in(root / LISTS, name, places) for name in splits}

    def example(order: Sequence[int], number: int) -> Example:
        path, label = dataset[order[number]]
        inside = path.relative_to(root / FRAMES)
        return Example(
            key=inside.with_suffix("").as_posix(),
            read=partial(read_file, path),
            label=int(label),
            fields={"file": inside.as_posix()},
        )

    return Listing(
        classes=tuple(dataset.classes),
        splits=tuple(
            Split(name=name, count=len(order), example=partial(example, order))
            for name, order in by_split.items()
        ),
    )


def _places_in(lists: Path, split: str, places: Mapping[str, int]) -> list[int]:
    """Where the frames of the videos of a split stand, in the order of its list."""
    lines = (lists / f"{split}list{_FOLD:02d}.txt").read_text().splitlines()
    stems = [Path(line.split(" ")[0]).stem for line in lines if line.strip()]
    missing = [stem for stem in stems if stem not in places]
    if missing:
        raise ConfigError(
            f"{FRAMES} holds no frame of {len(missing)} of the {len(stems)} videos of {split}, "
            f"e.g. {missing[0]}: extract them, or remove them from {split}list{_FOLD:02d}.txt"
        )
    return [places[stem] for stem in stems]
