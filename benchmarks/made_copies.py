"""Made rows and small grey images with planted copies, as many as a benchmark needs."""

from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from PIL import Image

from cpp_pipe.stages.algorithms.duplicates.registration import SIDE
from cpp_pipe.stages.sources.images.pixels import decode
from cpp_pipe.stages.sources.patterns import expand
from cpp_pipe.stages.sources.tar.shards import open_tar

from .ours import SETS

LEAST_COSINE = 0.955
"""Of a made row with its planted copy: just above the similarity that is searched."""
CHANGES = ("brighter", "flipped", "turned", "cropped")
_BLOCK = 1 << 12


def planted(n: int, seed: int) -> ndarray:
    """Rows (2, n // 100): the second of each pair is a copy of the first."""
    generator = np.random.default_rng([seed, 1])
    return generator.choice(n, 2 * (n // 100), replace=False).reshape(2, -1)


def made_rows(n: int, seed: int) -> ndarray:
    """Unit rows (n, 512) spread like real CLIP embeddings, with the planted copies.

    Rows of three sets, drawn with replacement and moved far enough to be other images.
    """
    generator = np.random.default_rng(seed)
    real = np.concatenate([np.load(path, allow_pickle=False)["x"] for path in SETS])
    rows = np.empty((n, real.shape[1]), np.float16)
    for start in range(0, n, 1 << 14):
        block = rows[start : start + (1 << 14)]
        drawn = real[generator.integers(len(real), size=len(block))].astype(np.float32)
        drawn += generator.standard_normal(drawn.shape, np.float32) * 0.55 / drawn.shape[1] ** 0.5
        block[:] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    first, second = planted(n, seed)
    original = rows[first].astype(np.float32)
    away = generator.standard_normal(original.shape, np.float32) / original.shape[1] ** 0.5
    cosine = generator.uniform(LEAST_COSINE, 1, (len(original), 1)).astype(np.float32)
    rows[second] = cosine * original + np.sqrt(1 - cosine**2) * away
    return rows


def made_images(n: int, shards: str, seed: int) -> ndarray:
    """Small grey images (n, pixels) with the planted copies, changed by `CHANGES` in turn.

    Each is a part of one photograph over a part of another one.
    """
    real = torch.from_numpy(_photographs(shards)).float()[:, None]
    generator = torch.Generator().manual_seed(seed)
    images = np.empty((n, SIDE * SIDE), np.uint8)
    for start in range(0, n, _BLOCK):
        block = images[start : start + _BLOCK]
        parts = []
        for _ in range(2):
            drawn = real[torch.randint(len(real), (len(block),), generator=generator)]
            shares = 0.5 + 0.3 * torch.rand(len(block), generator=generator)
            parts.append(_windows(drawn, shares, generator))
        block[:] = (0.65 * parts[0] + 0.35 * parts[1]).round().flatten(1).to(torch.uint8).numpy()
    first, second = planted(n, seed)
    for number, name in enumerate(CHANGES):
        chosen = slice(number, None, len(CHANGES))
        originals = torch.from_numpy(images[first[chosen]]).float().reshape(-1, 1, SIDE, SIDE)
        changed = _change(name, originals, generator).clamp(0, 255).round()
        images[second[chosen]] = changed.flatten(1).to(torch.uint8).numpy()
    return images


def _change(name: str, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if name == "flipped":
        return images.flip(3)
    if name == "turned":
        return images.rot90(1, (2, 3))
    if name == "cropped":
        return _windows(images, torch.full((len(images),), 0.95), generator)
    return 0.8 * images + 30 + 4 * torch.randn(images.shape, generator=generator)


def _windows(
    images: torch.Tensor, shares: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Parts of images, of a share of width and height each, at random places."""
    slack = (1 - shares)[:, None]
    shift = slack * (2 * torch.rand((len(images), 2), generator=generator) - 1)
    turns = torch.zeros(len(images), 2, 3)
    turns[:, 0, 0] = turns[:, 1, 1] = shares
    turns[:, :, 2] = shift
    grid = torch.nn.functional.affine_grid(turns, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _photographs(shards: str) -> ndarray:
    images = []
    for path in expand([shards]).found:
        with open_tar(Path(str(path)), None) as tar:
            for sample in tar.samples:
                grey = decode(sample.read_image(), at_least=2 * SIDE).rgb.convert("L")
                images.append(np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
    return np.stack(images)
