"""Tiny real tar shards, written by webdataset from real digits."""

import io
from pathlib import Path

from webdataset.writer import TarWriter

from cpp_pipe.stages.sources.digits import digit_halves, digit_image, digit_label


def write_shards(folder: Path, *, shards: int = 3, size: int = 20, first: int = 0) -> list[Path]:
    """Shards of digits that the small CLIP has not seen; `first` is the first digit's number."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = digit_halves()[1][first:]
    paths = [folder / f"{number:03d}.tar" for number in range(shards)]
    for number, path in enumerate(paths):
        with TarWriter(str(path)) as writer:
            for row in rows[number * size : (number + 1) * size]:
                writer.write(digit_sample(int(row)))
    return paths


def digit_sample(row: int) -> dict:
    """One digit as a sample: image, label, caption and a JSON field."""
    buffer = io.BytesIO()
    digit_image(row).save(buffer, "PNG")
    return {
        "__key__": f"digit_{row:04d}",
        "png": buffer.getvalue(),
        "cls": str(digit_label(row)).encode(),
        "txt": f"a scan, number {row}".encode(),
        "json": {"parity": digit_label(row) % 2},
    }
