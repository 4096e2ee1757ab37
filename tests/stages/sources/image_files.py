"""Real digits as image files in folders."""

import io
from pathlib import Path

from cpp_pipe.stages.sources.digits import digit_halves, digit_image, digit_label


def png(number: int) -> bytes:
    """A digit that the small CLIP has not seen, as a PNG."""
    buffer = io.BytesIO()
    digit_image(int(digit_halves()[1][number])).save(buffer, "PNG")
    return buffer.getvalue()


def label(number: int) -> int:
    """The digit that `png(number)` shows."""
    return digit_label(int(digit_halves()[1][number]))


def write_image(path: Path, number: int = 0) -> Path:
    """Writes one digit, and creates the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(number))
    return path


def write_folder(root: Path, count: int, *, first: int = 0) -> Path:
    """Writes digits, those of each class in a folder of its own."""
    for number in range(first, first + count):
        write_image(root / str(label(number)) / f"{number:04d}.png", number)
    return root
