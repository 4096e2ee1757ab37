"""Made photographs in shards, for benchmarks: gradients, shapes and noise."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

UNIQUE = 48
"""Distinct photographs; shards repeat them, which decoding does not notice."""
UNIQUE_LARGE = 12
LARGE = 1500
"""Side in pixels from which making a photograph takes a second."""


def photograph(seed: int, side: int) -> bytes:
    """A JPEG with a longer side of `side` pixels: 12 KB at 256, 40 KB at 512, 500 KB at 2000."""
    rng = np.random.default_rng(seed)
    shape = (side, side * 3 // 4)
    width, height = shape if rng.random() < 0.7 else shape[::-1]

    def octave(cells: int) -> np.ndarray:
        size = max(2, cells * height // side), max(2, cells * width // side), 3
        small = Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
        return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32) - 128

    # Like in photographs, each octave has half the contrast of the one before.
    canvas = 128 + sum(share * octave(cells) for cells, share in [(3, 0.5), (8, 0.25), (24, 0.12)])
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = (int(rng.integers(end)) for end in (width, height, side // 5))
        colour = tuple(rng.integers(0, 256, 3).tolist())
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x - r, y - r, x + r, y + r), fill=colour)
    noise = rng.normal(0, 4, (height, width, 1))
    stream = io.BytesIO()
    pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=88)
    return stream.getvalue()


def write_shards(folder: Path, side: int, shards: int, images: int) -> list[Path]:
    """Writes shards like img2dataset: a JPEG, a caption and a JSON for each sample."""
    from webdataset.writer import TarWriter

    folder.mkdir()
    unique = min(UNIQUE_LARGE if side >= LARGE else UNIQUE, images)
    made = [photograph(seed, side) for seed in range(unique)]
    paths = [folder / f"{number:05d}.tar" for number in range(shards)]
    for number, path in enumerate(paths):
        with TarWriter(str(path)) as writer:
            for row in range(images):
                key = f"{number:05d}{row:04d}"
                sample = {"jpg": made[row % unique], "txt": f"image {key}", "json": {"key": key}}
                writer.write({"__key__": key, **sample})
    return paths
