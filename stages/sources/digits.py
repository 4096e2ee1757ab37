"""Real handwritten digits as tar shards, from a data set that scikit-learn ships.

They are 1,797 scans (UCI "Optical Recognition of Handwritten Digits", test set). One half trained
the small CLIP in `configs/`; only the other half is written, so that the demonstration shows images
that its model has not seen. The halves share their writers.
"""

import functools
import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...store.errors import ShardError
from ...store.files import store_errors, sync, temporary_sibling
from .tar.writer import write_shard

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 32
"""Pixels per side: the 8 x 8 scans enlarged four times, an integer factor that keeps strokes
even."""


@functools.cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    """The scans (1797, 8, 8), with values from 0 to 16, and their labels (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    bunch.images.setflags(write=False)
    bunch.target.setflags(write=False)
    return bunch.images, bunch.target


def digit_label(i: int) -> int:
    """The digit, 0 to 9, on scan `i`."""
    return int(_scans()[1][i])


def digit_halves() -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the scans that train the small CLIP, and of those that it never sees.

    Every other row of each class, so that both halves hold each digit equally often (give or take
    one) and neither depends on a seed. Both are ascending.
    """
    labels = _scans()[1]
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    train = np.concatenate([rows[0::2] for rows in by_class])
    demo = np.concatenate([rows[1::2] for rows in by_class])
    return np.sort(train), np.sort(demo)


def digit_image(i: int) -> "Image":
    """Scan `i` as a greyscale image of 32 x 32 pixels, bright ink on black."""
    from PIL import Image

    grey = np.rint(_scans()[0][i] * (255 / 16)).astype(np.uint8)
    return Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def write_digit_shards(folder: Path, shards: int = 4) -> list[Path]:
    """Writes the half that the small CLIP never saw as tar shards, and returns their paths.

    The folder appears whole or not at all; one that holds these shards already is kept. ShardError
    if the folder holds anything else.
    """
    rows = digit_halves()[1]
    if not 1 <= shards <= len(rows):
        raise ShardError(
            f"shards must be from 1 to {len(rows)}, the number of digits, got {shards}"
        )
    paths = [folder / f"{shard:05d}.tar" for shard in range(shards)]
    if _holds_exactly(folder, paths):
        return paths
    with store_errors(f"writing the digits to {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_sibling(folder)
        temporary.mkdir()
        try:
            for shard, path in enumerate(paths):
                write_shard(temporary / path.name, _samples(rows[shard::shards]))
            sync(temporary)
            if folder.exists():
                folder.rmdir()  # it is empty; Windows renames onto no folder
            temporary.rename(folder)
            sync(folder.parent)
        except OSError:
            # Another process may have been first: it wrote the same bytes.
            if not _holds_exactly(folder, paths):
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return paths


def _holds_exactly(folder: Path, paths: list[Path]) -> bool:
    """Whether the folder holds these files; False if it is absent or empty.

    ShardError if it holds others.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise ShardError(f"{folder} is a file: name a folder for the digit shards")
    seen = {path.name for path in folder.iterdir()}
    if seen and seen != {path.name for path in paths}:
        raise ShardError(
            f"{folder} holds something other than {len(paths)} digit shards "
            f"(e.g. {min(seen)}): name an empty folder or a new one"
        )
    return bool(seen)


def _samples(rows: np.ndarray) -> Iterator[Mapping[str, str | bytes]]:
    for row in rows:
        png = io.BytesIO()
        digit_image(int(row)).save(png, format="PNG")
        yield {
            "__key__": f"digit_{row:04d}",
            "png": png.getvalue(),
            "cls": str(digit_label(int(row))).encode(),
        }
