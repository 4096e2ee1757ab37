"""Near-duplicates of large sets: those of all pairs, in less time."""

import numpy as np
import pytest
import torch

from cpp_pipe.stages.algorithms.duplicates import cells as cells_module
from cpp_pipe.stages.algorithms.duplicates import large_sets as module
from cpp_pipe.stages.algorithms.duplicates.cells import draw_sample, fit_cells, grouped
from cpp_pipe.stages.algorithms.duplicates.large_sets import coarse_of, near_duplicates_of_many
from cpp_pipe.stages.algorithms.duplicates.near_duplicates import NONE, near_duplicates

from ....strategies import random_unit_rows

THRESHOLD = 0.95


def planted(n: int, copies: int, seed: int) -> np.ndarray:
    """Unit rows in a few loose groups, the last of them near copies of the first."""
    centres = random_unit_rows(12, 48, seed).float()
    generator = torch.Generator().manual_seed(seed)
    rows = centres[torch.randint(12, (n,), generator=generator)]
    rows = rows + 0.12 * torch.randn(n, 48, generator=generator)
    rows[n - copies :] = rows[:copies] + 0.02 * torch.randn(copies, 48, generator=generator)
    return torch.nn.functional.normalize(rows, dim=1).half().numpy()


@pytest.fixture(autouse=True)
def _small_runs(monkeypatch):
    """Few rows take several levels of runs, and many cells."""
    monkeypatch.setattr(module, "_RUN", 100)
    monkeypatch.setattr(module, "_RUNS", 4)
    monkeypatch.setattr(cells_module, "CELL_ROWS", 25)


@pytest.mark.parametrize("seed", range(4))
def test_decisions_are_those_of_all_pairs(seed):
    x, order = planted(1500, 200, seed), np.random.default_rng(seed).permutation(1500)
    found, recall = near_duplicates_of_many(lambda rows: x[rows], order, THRESHOLD)
    exact = near_duplicates(torch.from_numpy(x), torch.from_numpy(order), THRESHOLD)
    assert (exact.kept != NONE).sum() >= 200
    np.testing.assert_array_equal(found.kept, exact.kept)
    np.testing.assert_allclose(found.similarity, exact.similarity, atol=1e-6)
    assert recall.share == 1
    assert recall.pairs >= 200


def test_the_recall_counts_the_pairs_that_are_not_compared(monkeypatch):
    monkeypatch.setattr(module, "VISITED", 1)
    x, order = planted(3000, 1000, 0), np.arange(3000)
    found, recall = near_duplicates_of_many(lambda rows: x[rows], order, 0.9)
    exact = near_duplicates(torch.from_numpy(x), torch.from_numpy(order), 0.9)
    share = (found.kept != NONE).sum() / (exact.kept != NONE).sum()
    assert 0.5 < recall.share < 1
    assert share == pytest.approx(recall.share, abs=0.1)


def test_every_dropped_row_is_near_an_earlier_kept_row_of_low_recall_too(monkeypatch):
    monkeypatch.setattr(module, "VISITED", 1)
    x, order = planted(1500, 500, 1), np.random.default_rng(1).permutation(1500)
    kept, similarity = near_duplicates_of_many(lambda rows: x[rows], order, 0.9)[0]
    place = np.argsort(order)
    dropped = (kept != NONE).nonzero()[0]
    assert (kept[kept[dropped]] == NONE).all()
    assert (place[kept[dropped]] < place[dropped]).all()
    cosines = (x[dropped].astype(np.float64) * x[kept[dropped]].astype(np.float64)).sum(1)
    np.testing.assert_allclose(similarity[dropped], cosines, atol=2e-3)
    assert (similarity[dropped] >= 0.9 - 1e-6).all()


def test_a_second_run_decides_the_same():
    x, order = planted(1200, 300, 2), np.arange(1200)
    first, second = (near_duplicates_of_many(lambda rows: x[rows], order, 0.9) for _ in range(2))
    np.testing.assert_array_equal(first[0].kept, second[0].kept)
    np.testing.assert_array_equal(first[0].similarity, second[0].similarity)
    assert first[1] == second[1]


def test_copies_of_one_row_are_read_few_times_each(monkeypatch):
    n, reads = 4000, [0]
    row = random_unit_rows(1, 48, 0).half().numpy()

    def read(rows: np.ndarray) -> np.ndarray:
        reads[0] += len(rows)
        return np.repeat(row, len(rows), 0)

    monkeypatch.setattr(module, "_TRUTH_ROWS", 500)
    found, recall = near_duplicates_of_many(read, np.arange(n), 0.99)
    assert (found.kept[1:] == 0).all()
    assert recall.share == 1
    # Besides, the rows that measure the recall, each with a short block.
    rows_of_truth = 2 * module._TRUTH_ROWS * module._TRUTH_BLOCK
    assert reads[0] < 20 * n + rows_of_truth


def test_many_near_copies_of_one_row_leave_few():
    """They fill many cells, where a kept one lies in one."""
    generator = np.random.default_rng(0)
    x = random_unit_rows(1, 48, 0).float().numpy()
    x = x + 0.01 * generator.standard_normal((4000, 48)).astype(np.float32)
    found = near_duplicates_of_many(lambda rows: x[rows], np.arange(4000), 0.95)[0]
    assert (found.kept == NONE).sum() < 10


@pytest.mark.parametrize("n", [1, 2, 3, 101])
def test_few_rows_are_decided_too(n):
    x = planted(500, 1, 0)[-n:]
    twice = np.concatenate([x, x])
    found, recall = near_duplicates_of_many(lambda rows: twice[rows], np.arange(2 * n), 1.0)
    assert found.kept[:n].tolist() == [NONE] * n
    assert found.kept[n:].tolist() == list(range(n))
    assert recall.pairs == n


def test_progress_counts_every_row():
    decided: list[int] = []
    x = planted(1000, 10, 0)
    near_duplicates_of_many(lambda rows: x[rows], np.arange(1000), 0.9, report=decided.append)
    assert sum(decided) == 1000


def test_coarse_rows_in_float16_bound_the_cosines_from_above():
    x = planted(400, 50, 0)
    coarse = coarse_of(lambda rows: x[rows], np.arange(400)).float()
    unit = torch.nn.functional.normalize(torch.from_numpy(x).float(), dim=1)
    assert (coarse @ coarse.T >= unit @ unit.T).all()


def test_the_nearest_cell_of_a_row_is_that_of_all_distances():
    points = torch.from_numpy(planted(2000, 0, 0)).float()
    cells = fit_cells(points[draw_sample(2000, 0)])
    assert len(cells.fine) == pytest.approx(2000 / 25, rel=0.1)
    exact = torch.cdist(points, cells.fine).argmin(1).numpy()
    assert (cells.nearest(points, 8)[:, 0] == exact).mean() > 0.9
    everything = cells.nearest(points[:50], 10**6)
    assert (np.sort(everything, 1) == np.arange(len(cells.fine))).all()


def test_groups_hold_each_visit_once():
    visits = np.random.default_rng(0).integers(0, 9, (50, 3))
    visits[visits == 4] = 5
    groups = list(grouped(visits, 9))
    assert [group.cell for group in groups] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert sum(len(group.rows) for group in groups) == visits.size
    assert all((visits[group.rows, group.columns] == group.cell).all() for group in groups)
