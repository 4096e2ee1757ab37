"""The reader of UCF101: the middle frame of each video."""

import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...stages.sources.images.pixels import UndecodableImage
from ...store import ConfigError
from ...store.errors import one_line
from .example import Example, Listing, Split, read_file, read_pixels

VIDEOS = "UCF-101"
FRAMES = "UCF-101-midframes"
"""A folder of middle frames that others extracted, such as the one that CoOp distributes."""
LISTS = "ucfTrainTestlist"

_FOLD = 1
"""The division into train and test that papers report, of three."""

_SOURCE_LINE = re.compile(r"^.*?\.cpp:\d+, ")
"""The line of torchcodec's own code in its errors."""


def read_ucf101(root: Path, splits: Sequence[str], download: bool) -> Listing:
    """UCF101, whose videos torchcodec decodes; or a folder of middle frames."""
    if (root / FRAMES).is_dir():
        return _read_frames(root, splits)
    if importlib.util.find_spec("torchcodec") is None:
        raise ConfigError(
            "videos are read with torchcodec: pip install 'cpp-pipe[video]', and FFmpeg "
            f"by your system; or put middle frames into {root / FRAMES}/CLASS/VIDEO.jpg"
        )
    return _read_videos(root, splits)


def _read_videos(root: Path, splits: Sequence[str]) -> Listing:
    from torchvision.datasets.folder import find_classes

    _decoders()  # raises here where FFmpeg is not installed
    # torchvision's UCF101 would first open all videos, and fail at a damaged one. Those that are
    # listed and not there are skipped by their names, and keep the number of their class.
    folders, _ = find_classes(root / VIDEOS)
    listed = {name: _listed_videos(root / LISTS, name) for name in splits}
    classes = sorted({*folders, *(video.parts[0] for own in listed.values() for video in own)})
    numbers = {name: number for number, name in enumerate(classes)}

    def example(own: Sequence[Path], number: int) -> Example:
        video = own[number]
        return Example(
            key=video.with_suffix("").as_posix(),
            read=partial(_middle_frame, root / VIDEOS / video),
            label=numbers[video.parts[0]],
            fields={"file": video.as_posix()},
        )

    return Listing(
        classes=tuple(classes),
        splits=tuple(
            Split(name=name, count=len(own), example=partial(example, own))
            for name, own in listed.items()
        ),
    )


def _listed_videos(lists: Path, split: str) -> list[Path]:
    """The paths CLASS/VIDEO.avi of a split, sorted."""
    return sorted({Path(line.split(" ")[0]) for line in _lines_of(lists, split)})


def _middle_frame(path: Path) -> tuple[str, bytes]:
    """The middle frame of a video as a PNG; UndecodableImage where it is damaged."""
    try:
        decoder = _decoders().VideoDecoder(path, dimension_order="NHWC")
        count = decoder.metadata.num_frames
        frame = decoder.get_frame_at(count // 2).data if count else None
    except (RuntimeError, ValueError, LookupError) as error:
        why = _SOURCE_LINE.sub("", one_line(str(error))).replace(str(path), path.name)
        raise UndecodableImage("undecodable", why[:200]) from error
    if frame is None:
        raise UndecodableImage("undecodable", "it has no frame")
    return read_pixels(frame.numpy())


def _decoders() -> Any:
    """The module of torchcodec, which the extra `video` installs."""
    return importlib.import_module("torchcodec.decoders")


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
    """The indices of the frames of a split's videos, in the order of its list."""
    stems = [Path(line.split(" ")[0]).stem for line in _lines_of(lists, split)]
    missing = [stem for stem in stems if stem not in places]
    if missing:
        raise ConfigError(
            f"{FRAMES} holds no frame of {len(missing)} of the {len(stems)} videos of {split}, "
            f"e.g. {missing[0]}: extract them, or remove them from {split}list{_FOLD:02d}.txt"
        )
    return [places[stem] for stem in stems]


def _lines_of(lists: Path, split: str) -> list[str]:
    """The lines of a split's list: CLASS/VIDEO.avi, in the list of train followed by a number."""
    lines = (lists / f"{split}list{_FOLD:02d}.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip()]
