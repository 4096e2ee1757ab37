"""Made embeddings with the spectrum of CLIP, clusters of very unequal sizes, and planted copies.

Measured on 4,114 photographs of Caltech-101 by ViT-B/32: the mean of all unit rows has a squared
length of 0.54, and the eigenvalues of what remains, of all rows and within classes, fall like
`BETWEEN` and `WITHIN` here, within a third of each.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .planted import group_sizes

WIDTH = 512
MEAN_SQ = 0.54
"""Squared length of the mean of all rows."""
WITHIN_SHARE = 0.6
"""Share of the variance that is within clusters: 0.46 in Caltech-101, more in finer classes."""
RATIO = 1000.0
"""Size of the largest cluster over that of the smallest."""
COPIES_IN = 100
"""One row in so many is a copy of another one in its part."""
LEAST_COSINE = 0.955
"""Of a copy with its original: just above the similarity that is searched."""
_BLOCK = 1 << 14

_AXES = np.arange(WIDTH)
BETWEEN = np.exp(-_AXES / 300) / (_AXES + 2.5)
WITHIN = np.exp(-_AXES / 400) / (_AXES + 7)


class Planted(NamedTuple):
    """What the rows were made with, in row order."""

    groups: ndarray
    """The cluster of each row; that of a copy is its original's."""
    originals: ndarray
    """Row numbers of originals."""
    copies: ndarray
    """Row numbers of their copies, in the same order."""


def cluster_count(rows: int) -> int:
    """How many clusters so many rows are planted in."""
    return max(4, min(300, rows // 100))


def write_embeddings(
    folder: Path,
    rows: int,
    part_rows: int,
    seed: int = 0,
    clusters: int = 0,
    threads: int = 1,
) -> None:
    """Writes `img_emb/img_emb_N.npy` of `part_rows` rows each, as clip-retrieval does.

    What was planted goes into `planted.npz`: so many clusters, or `cluster_count` for 0. A part of
    n rows does not depend on how many parts follow, except by the sizes of clusters. Any number of
    threads gives the same bytes.
    """
    (folder / "img_emb").mkdir(parents=True)
    clusters = clusters or cluster_count(rows)
    generator = np.random.default_rng([seed, 1])
    centres = generator.standard_normal((clusters, WIDTH)) * np.sqrt(BETWEEN / BETWEEN.sum())
    mean = generator.standard_normal(WIDTH)
    mean *= np.sqrt(MEAN_SQ) / np.linalg.norm(mean)
    groups = np.repeat(np.arange(clusters), group_sizes(clusters, rows, RATIO)).astype(np.int32)
    generator.shuffle(groups)

    def write(number: int) -> np.ndarray:
        start = number * part_rows
        own = np.random.default_rng([seed, 2, number])
        labels = groups[start : start + part_rows]
        x = _rows(labels, centres.astype(np.float32), mean.astype(np.float32), own)
        first, second = own.choice(len(x), 2 * (len(x) // COPIES_IN), replace=False).reshape(2, -1)
        _copy(x, first, second, own)
        labels[second] = labels[first]
        np.save(folder / "img_emb" / f"img_emb_{number:05d}.npy", x)
        return np.stack([first, second]) + start

    with ThreadPoolExecutor(threads) as pool:
        pairs = list(pool.map(write, range(-(-rows // part_rows))))
    originals, copies = np.concatenate(pairs, axis=1)
    np.savez(folder / "planted.npz", groups=groups, originals=originals, copies=copies)


def read_planted(folder: Path) -> Planted:
    """What `write_embeddings` planted."""
    with np.load(folder / "planted.npz") as file:
        return Planted(file["groups"], file["originals"], file["copies"])


def read_rows(folder: Path, rows: int) -> ndarray:
    """The first rows in float32."""
    found, blocks = 0, []
    for path in sorted((folder / "img_emb").glob("*.npy")):
        if found >= rows:
            break
        blocks.append(np.load(path, mmap_mode="r")[: rows - found].astype(np.float32))
        found += len(blocks[-1])
    return np.concatenate(blocks)


def _rows(
    labels: ndarray, centres: ndarray, mean: ndarray, generator: np.random.Generator
) -> ndarray:
    scale = np.sqrt(WITHIN / WITHIN.sum() * (1 - MEAN_SQ) * WITHIN_SHARE).astype(np.float32)
    between = np.float32(np.sqrt((1 - MEAN_SQ) * (1 - WITHIN_SHARE)))
    x = np.empty((len(labels), WIDTH), np.float16)
    for start in range(0, len(labels), _BLOCK):
        block = slice(start, start + _BLOCK)
        rows = generator.standard_normal((len(labels[block]), WIDTH), np.float32)
        rows *= scale
        rows += mean + between * centres[labels[block]]
        x[block] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return x


def _copy(x: ndarray, first: ndarray, second: ndarray, generator: np.random.Generator) -> None:
    originals = x[first].astype(np.float32)
    away = generator.standard_normal(originals.shape, np.float32) / np.float32(WIDTH**0.5)
    cosine = generator.uniform(LEAST_COSINE, 1, (len(originals), 1)).astype(np.float32)
    rows = cosine * originals + np.sqrt(1 - cosine**2) * away
    x[second] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
