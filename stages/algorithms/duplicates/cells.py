"""Cells of rows that lie near each other, so that not all pairs of rows need a comparison.

An inverted file, as of FAISS (Johnson et al., arXiv 1702.08734, section 2), for many queries at
once: a row belongs to the cell of its nearest centroid, and is compared with the rows of a few
cells. Centroids are found by k-means in two levels, so that a row is compared with the square root
of their number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from numpy import ndarray
from torch import Tensor

CELL_ROWS = 512
"""Rows per cell, on average: more rows cost comparisons, fewer cost steps in Python."""
VISITED = 8
"""Cells whose rows a row is compared with. Of 320,000 rows like embeddings of CLIP, all 3,193
planted pairs of a cosine of 0.95 are found (`benchmarks.duplicates --scale`)."""
_SAMPLE = 24
"""Sampled rows per cell from which centroids are found."""
_ITERATIONS = 8
_AT_ONCE = 16_384


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Centroids in two levels."""

    coarse: Float32[Tensor, "k1 q"]
    fine: Float32[Tensor, "k q"]
    starts: Int64[ndarray, " k1_and_1"]
    """The index of the first fine centroid of each coarse one."""

    def nearest(self, points: Float[Tensor, "n q"], count: int) -> Int64[ndarray, "n m"]:
        """The nearest cells of each row, the nearest first; at most as many as there are cells."""
        blocks = [self._nearest(block.float(), count) for block in points.split(_AT_ONCE)]
        return torch.cat(blocks).numpy()

    def _nearest(self, points: Tensor, count: int) -> Tensor:
        count = min(count, len(self.fine))
        around = _distances(points, self.coarse).topk(
            min(count + 1, len(self.coarse)), largest=False
        )
        visits = around.indices.numpy()
        most = int(np.diff(self.starts).max())
        padded = torch.full((len(points), visits.shape[1], most), torch.inf)
        for group in grouped(visits, len(self.coarse)):
            first, last = self.starts[group.cell], self.starts[group.cell + 1]
            rows = torch.from_numpy(group.rows)
            columns = torch.from_numpy(group.columns)
            distances = _distances(points[rows], self.fine[first:last])
            padded[rows, columns, : last - first] = distances
        places = padded.flatten(1).topk(count, largest=False).indices
        begins = torch.from_numpy(self.starts[visits]).gather(1, places // most)
        return begins + places % most


class Group(NamedTuple):
    """The rows that visit a cell."""

    cell: int
    rows: Int64[ndarray, " m"]
    columns: Int64[ndarray, " m"]
    """For each row, the rank of this cell among the cells that it visits."""


def grouped(visits: Int[ndarray, "n m"], count: int) -> Iterator[Group]:
    """The rows of each cell that has any, in ascending order, from the cells of each row."""
    flat = visits.ravel()
    order = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=count))
    rows, columns = np.divmod(order, max(1, visits.shape[1]))
    start = 0
    for cell, end in enumerate(ends.tolist()):
        if end > start:
            yield Group(cell, rows[start:end], columns[start:end])
        start = end


def draw_sample(n: int, seed: int) -> Int64[Tensor, " m"]:
    """Rows from which the cells of n rows are found, in random order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(n, generator=generator)[: max(1, n // CELL_ROWS) * _SAMPLE]


def fit_cells(sample: Float[Tensor, "m q"]) -> Cells:
    """About one cell for each `_SAMPLE` rows of a sample in random order."""
    sample = sample.float()
    count = max(1, len(sample) // _SAMPLE)
    outer = max(1, round(count**0.5))
    coarse, labels = _kmeans(sample, outer)
    fine, sizes = [], []
    for cell in range(len(coarse)):
        inside = sample[labels == cell]
        children = coarse[cell : cell + 1]
        if len(inside):
            children, _ = _kmeans(inside, max(1, round(count * len(inside) / len(sample))))
        fine.append(children)
        sizes.append(len(children))
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Cells(coarse=coarse, fine=torch.cat(fine), starts=starts)


def _kmeans(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Centroids and labels of Lloyd's algorithm, from the first k rows: their order is random."""
    k = min(k, len(rows))
    centroids = rows[:k].clone()
    labels = torch.zeros(len(rows), dtype=torch.int64)
    for _ in range(_ITERATIONS):
        nearest = [_distances(block, centroids).argmin(1) for block in rows.split(_AT_ONCE)]
        labels = torch.cat(nearest)
        sums = torch.zeros_like(centroids).index_add_(0, labels, rows)
        # Of several equal centroids one has all rows: the others are removed.
        present, labels, counts = labels.unique(return_inverse=True, return_counts=True)
        centroids = sums[present] / counts[:, None]
    return centroids, labels


def _distances(rows: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances less the squared length of each row, which leaves their order."""
    return torch.addmm(centroids.square().sum(1), rows, centroids.T, alpha=-2)
