"""Real digits as picture files in folders."""

import io
from pathlib import Path

from cpp_pipe.stages.sources.digits import digit_halves, digit_image, digit_label


def png(number: int) -> bytes:
    """A digit that the small CLIP has not seen, as PNG."""
    buffer = io.BytesIO()
    digit_image(int(digit_halves()[1][number])).save(buffer, "PNG")
    return buffer.getvalue()


def label(number: int) -> int:
    """Which digit that is."""
    return digit_label(int(digit_halves()[1][number]))


def write_picture(path: Path, number: int = 0) -> Path:
    """Writes one digit, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(number))
    return path


def write_folder(root: Path, pictures: int, *, first: int = 0) -> Path:
    """Digits in a folder for each digit, as people sort pictures."""
    for number in range(first, first + pictures):
        write_picture(root / str(label(number)) / f"{number:04d}.png", number)
    return root
