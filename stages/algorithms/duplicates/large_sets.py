"""Near-duplicates among too many rows to compare all pairs: time grows with n log n.

Rows are decided in the same order, and by the same rule, as in `near_duplicates`. They are cut into
a few runs; a run is compared with the rows kept of earlier ones, each row with those of its nearest
cells, and then decided by itself in the same way, until runs are short enough for all pairs. A pair
of different runs is missed if neither row's cells show it; how many are missed is measured.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float16, Int64, Shaped
from numpy import ndarray
from torch import Tensor

from .bounds import SAMPLE, SLACK, coarse, leading_directions, unit
from .cells import VISITED, Cells, draw_sample, fit_cells, grouped
from .near_duplicates import (
    NONE,
    ROUNDING,
    NearDuplicates,
    by_row,
    decide,
    record_near,
    undecided,
)

Read = Callable[[Int64[ndarray, " m"]], Shaped[ndarray, "m d"]]
"""Reads rows by their numbers, in any order."""

ALL_PAIRS = 20_000
"""Rows up to which all pairs are compared: about as fast as cells, and exact."""
_RUN = 8192
"""Rows of a run that is decided by all pairs."""
_RUNS = 16
"""Runs into which a longer one is cut, at most."""
_DIRECTIONS = 96
"""Directions of the bounds: 2 GB for ten million rows. Of the pairs in cells of 60,000 rows like
embeddings of CLIP, bounds of 48, 96 and 128 directions leave 2.4, 0.13 and 0.04 % to compare
exactly."""
_DIRECTIONS_OF_CELLS = 64
"""Leading directions in which cells are found."""
_HALF = 1.5e-3
"""More than the error of a bound in float16."""
_PAIRS = 4096
"""Pairs that are read and compared at once."""
_ROWS = 8192
_TRUTH_ROWS, _TRUTH_PAIRS = 2048, 64
"""Rows, drawn at random, whose pairs measure the recall; and pairs of one row, at most."""
_TRUTH_BLOCK = 128
_SEED = 0


class Recall(NamedTuple):
    """The share of pairs of similar rows that the search compares, measured on a sample."""

    share: float
    """1 if the sample has no such pair."""
    pairs: int


def coarse_of(read: Read, order: Int64[ndarray, " n"]) -> Float16[Tensor, "n r"]:
    """Coarse rows in an order, never too short: their products bound the cosines from above."""
    n = len(order)
    sample = unit(torch.from_numpy(read(order[:: max(1, math.ceil(n / SAMPLE))])))
    directions = leading_directions(sample)[:, :_DIRECTIONS]
    rows = torch.empty((n, directions.shape[1] + 1), dtype=torch.float16)
    for start in range(0, n, _ROWS):
        block = coarse(torch.from_numpy(read(order[start : start + _ROWS])), directions)
        block[:, -1] = (block[:, -1].square() + _HALF).sqrt()
        rows[start : start + _ROWS] = block
    return rows


def points_of(coarse: Float16[Tensor, "n r"]) -> Float16[Tensor, "n q"]:
    """The leading coordinates, in which cells are found."""
    return coarse[:, : min(_DIRECTIONS_OF_CELLS, coarse.shape[1] - 1)]


def near_duplicates_of_many(
    read: Read,
    order: Int64[ndarray, " n"],
    threshold: float,
    *,
    device: str = "cpu",
    report: Callable[[int], None] = lambda rows: None,
) -> tuple[NearDuplicates, Recall]:
    """As `near_duplicates`, for rows that are read in blocks, and the recall of similar pairs.

    Holds a fifth of the rows' bytes, or less.
    """
    search = _Search(
        read=read,
        order=order,
        coarse=coarse_of(read, order),
        threshold=threshold,
        device=device,
        report=report,
        decided=undecided(len(order)),
    )
    truth = search.true_pairs()
    is_met = np.zeros(len(truth), bool)
    search.decide(0, len(order), truth, is_met)
    share = float(is_met.mean()) if len(truth) else 1.0
    return by_row(search.decided, order), Recall(share, len(truth))


@dataclass(frozen=True, kw_only=True)
class _Search:
    """A search whose rows are all numbered by their place in the order of preference."""

    read: Read
    order: ndarray
    coarse: Tensor
    threshold: float
    device: str
    report: Callable[[int], None]
    decided: NearDuplicates

    def rows(self, places: ndarray) -> Tensor:
        return torch.from_numpy(self.read(self.order[places]))

    def decide(self, start: int, stop: int, truth: ndarray, is_met: ndarray) -> None:
        """Decides a run, and marks the pairs of the truth that it compares.

        `truth` holds the pairs inside the run; `is_met` gets a mark for each.
        """
        if stop - start <= _RUN:
            is_met[:] = True
            self._decide_all_pairs(start, stop)
            return
        points = points_of(self.coarse[start:stop])
        cells = self._cells(start, stop)
        own = cells.nearest(points, 1)[:, 0]
        step = math.ceil((stop - start) / min(_RUNS, math.ceil((stop - start) / _RUN)))
        if len(truth):
            visited = cells.nearest(points[torch.from_numpy(truth[:, 1] - start)], VISITED)
            is_met[:] = (visited == own[truth[:, 0] - start, None]).any(1)
        run_of = (truth - start) // step
        for first in range(start, stop, step):
            last = min(first + step, stop)
            if first > start:
                visits = cells.nearest(points[first - start : last - start], VISITED)
                self._compare(start, first, own, visits, len(cells.fine))
            inside = (run_of == (first - start) // step).all(1).nonzero()[0]
            is_met_inside = is_met[inside]
            self.decide(first, last, truth[inside], is_met_inside)
            is_met[inside] = is_met_inside

    def _cells(self, start: int, stop: int) -> Cells:
        """Cells of the rows that may be kept: thousands of copies of one row need no more cells."""
        kept = []
        for sample in draw_sample(stop - start, _SEED).split(_RUN):
            places = sample + start
            local = undecided(len(sample))
            bounds = self.coarse[places].float().to(self.device)
            rows = self.rows(places.numpy())
            decide(rows, bounds, self.threshold, local, lambda rows: None)
            kept.append(places[torch.from_numpy(local.kept == NONE)])
        return fit_cells(points_of(self.coarse[torch.cat(kept)]))

    def _decide_all_pairs(self, start: int, stop: int) -> None:
        was_dropped = self.decided.kept[start:stop] != NONE
        local = NearDuplicates(
            np.where(was_dropped, stop, NONE), self.decided.similarity[start:stop].copy()
        )
        rows = self.rows(np.arange(start, stop))
        bounds = self.coarse[start:stop].float().to(self.device)
        decide(rows, bounds, self.threshold, local, self.report)
        is_new = (local.kept != NONE) & (local.kept != stop)
        self.decided.kept[start:stop][is_new] = local.kept[is_new] + start
        self.decided.similarity[start:stop][is_new] = local.similarity[is_new]

    def _compare(self, start: int, first: int, own: ndarray, visits: ndarray, cells: int) -> None:
        """Drops rows from `first` on that are near a kept row from `start` on, before `first`."""
        leaders = (self.decided.kept[start:first] == NONE).nonzero()[0]
        members = {
            group.cell: leaders[group.rows] + start
            for group in grouped(own[leaders][:, None], cells)
        }
        pending: list[tuple[ndarray, ndarray]] = []
        waiting = 0
        for group in grouped(visits, cells):
            if group.cell in members:
                for pair in self._bounded(members[group.cell], group.rows + first):
                    pending.append(pair)
                    waiting += len(pair[0])
                    if waiting >= _PAIRS:
                        self._record(pending)
                        pending, waiting = [], 0
        self._record(pending)

    def _bounded(self, leaders: ndarray, others: ndarray) -> list[tuple[ndarray, ndarray]]:
        """Pairs that may reach the threshold, in blocks of at most `_PAIRS`."""
        left, right = (
            self.coarse[torch.from_numpy(places)].to(self.device).float()
            for places in (leaders, others)
        )
        near = (left @ right.T >= self.threshold - SLACK).nonzero().cpu().numpy()
        return [
            (leaders[pairs[:, 0]], others[pairs[:, 1]])
            for pairs in np.split(near, range(_PAIRS, len(near), _PAIRS))
            if len(pairs)
        ]

    def _record(self, pending: list[tuple[ndarray, ndarray]]) -> None:
        if pending:
            query, other = (np.concatenate(places) for places in zip(*pending, strict=True))
            record_near(
                self.rows(query), self.rows(other), query, other, self.threshold, self.decided
            )

    def true_pairs(self) -> Int64[ndarray, "m 2"]:
        """Pairs of sampled rows with any others that reach the threshold, the earlier place first.

        For each sampled row the first few pairs by place, found by comparing it with all rows.
        """
        n = len(self.order)
        generator = np.random.default_rng(_SEED)
        sample = np.sort(generator.choice(n, min(n, _TRUTH_ROWS), replace=False))
        pairs = [np.empty((0, 2), np.int64)]
        counts = np.zeros(len(sample), np.int64)
        first, size = 0, _TRUTH_BLOCK
        while first < n:
            active = sample[counts < _TRUTH_PAIRS]
            for queries in np.array_split(active, max(1, len(active) // 256)):
                others = np.arange(first, min(first + size, n))
                for query, other in self._bounded(queries, others):
                    cosine = (unit(self.rows(query)) * unit(self.rows(other))).sum(1).numpy()
                    is_near = (cosine >= self.threshold - ROUNDING) & (query != other)
                    query, other = query[is_near], other[is_near]
                    np.add.at(counts, np.searchsorted(sample, query), 1)
                    pairs.append(np.stack([np.minimum(query, other), np.maximum(query, other)], 1))
            # Longer blocks cost less, but for many copies of one row the first pairs are enough.
            first, size = first + size, min(2 * size, _ROWS)
        return np.unique(np.concatenate(pairs), axis=0)
