"""Real handwritten digits as tar shards: the data that comes with cpp-pipe's dependencies.

They are the 1,797 scans that scikit-learn ships (UCI "Optical Recognition of Handwritten Digits",
test set). Half of them trained the small CLIP in `configs/`; only the other half is written, so
that a demonstration shows images which its model has not seen. Writers are shared by the halves.
"""

import functools
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ...store.errors import ShardError
from ...store.files import store_errors, sync, temporary_sibling

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

SIDE = 32
"""Pixels a side: the 8 x 8 scans are enlarged four times, a multiple that keeps strokes even."""


@functools.cache
def _scans() -> "tuple[np.ndarray, np.ndarray]":
    """The scans (1797, 8, 8), with values from 0 to 16, and their labels (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    bunch.images.setflags(write=False)
    bunch.target.setflags(write=False)
    return bunch.images, bunch.target


def digit_label(i: int) -> int:
    """The digit, 0 to 9, that scan `i` shows."""
    return int(_scans()[1][i])


def digit_halves() -> "tuple[np.ndarray, np.ndarray]":
    """Row numbers of the scans that train the small CLIP, and of those that it never sees.

    Every other row of each class, so that both halves hold each digit equally often (one row apart)
    and neither depends on a seed. Both are ascending.
    """
    import numpy as np

    labels = _scans()[1]
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    train = np.concatenate([rows[0::2] for rows in by_class])
    demo = np.concatenate([rows[1::2] for rows in by_class])
    return np.sort(train), np.sort(demo)


def digit_image(i: int) -> "Image":
    """Scan `i` as a greyscale picture of 32 x 32 pixels, bright ink on black."""
    import numpy as np
    from PIL import Image

    grey = np.rint(_scans()[0][i] * (255 / 16)).astype(np.uint8)
    return Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def write_digit_shards(folder: Path, shards: int = 4) -> list[Path]:
    """Writes the half that the small CLIP never saw as tar shards, and returns their paths.

    The folder appears whole or not at all; one that holds these shards already is left as it is.
    Raises ShardError where the folder holds anything else.
    """
    rows = digit_halves()[1]
    if not 1 <= shards <= len(rows):
        raise ShardError(f"shards = {shards}: the {len(rows)} digits fill 1 to {len(rows)} shards")
    paths = [folder / f"{shard:05d}.tar" for shard in range(shards)]
    if _holds_exactly(folder, paths):
        return paths
    with store_errors(f"writing the digits to {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_sibling(folder)
        temporary.mkdir()
        try:
            for shard, path in enumerate(paths):
                _write_shard(temporary / path.name, rows[shard::shards])
            sync(temporary)
            temporary.rename(folder)
            sync(folder.parent)
        except OSError:
            # Another process may have been first: what it wrote has the same bytes.
            if not _holds_exactly(folder, paths):
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return paths


def _holds_exactly(folder: Path, paths: list[Path]) -> bool:
    """Whether the folder holds these files; False where it is absent or empty, else ShardError."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise ShardError(f"{folder} is a file: name a folder for the digit shards")
    seen = {path.name for path in folder.iterdir()}
    if seen and seen != {path.name for path in paths}:
        raise ShardError(
            f"{folder} holds something other than {len(paths)} digit shards "
            f"(as {min(seen)}): name an empty folder or a new one"
        )
    return bool(seen)


def _write_shard(path: Path, rows: "np.ndarray") -> None:
    """Writes one tar whose bytes depend on the rows alone: no clock, no user, no umask."""
    from webdataset.writer import TarWriter

    with (
        path.open("wb") as file,
        TarWriter(file, user="", group="", mtime=0, encoder=False) as tar,
    ):
        for row in rows:
            png = io.BytesIO()
            digit_image(int(row)).save(png, format="PNG")
            tar.write(
                {
                    "__key__": f"digit_{row:04d}",
                    "png": png.getvalue(),
                    "cls": str(digit_label(int(row))).encode(),
                }
            )
    sync(path)
