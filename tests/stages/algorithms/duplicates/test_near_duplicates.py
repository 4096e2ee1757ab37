"""Near-duplicates: exact, close to the kept row, and independent of the blocks."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.duplicates import near_duplicates as module
from cpp_pipe.stages.algorithms.duplicates.bounds import SLACK, coarse_rows
from cpp_pipe.stages.algorithms.duplicates.near_duplicates import NONE, near_duplicates

from ....strategies import random_unit_rows, seeds


def clumps(n: int, d: int, seed: int, spread: float = 0.3) -> torch.Tensor:
    """n unit rows around fewer centres, some equal, so that every threshold finds some near."""
    generator = torch.Generator().manual_seed(seed)
    centres = random_unit_rows(max(1, n // 3), d, seed)
    drawn = centres[torch.randint(len(centres), (n,), generator=generator)]
    moved = torch.randn(n, d, generator=generator, dtype=torch.float64)
    steps = spread * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    steps[::4] = 0
    return torch.nn.functional.normalize(drawn + steps * moved, dim=1).float()


def one_after_another(x: torch.Tensor, order: list[int], threshold: float) -> dict[int, int]:
    """For each dropped row the row kept for it, by the definition."""
    stay: list[int] = []
    dropped = {}
    for row in order:
        near = [one for one in stay if x[one] @ x[row] >= threshold]
        if near:
            dropped[row] = max(near, key=lambda one: (float(x[one] @ x[row]), -order.index(one)))
        else:
            stay.append(row)
    return dropped


def is_clear(x: torch.Tensor, threshold: float) -> bool:
    """Whether rounding cannot matter: no cosine is at the threshold, and only copies tie."""
    cosine = (x.double() @ x.double().T)[torch.triu_indices(len(x), len(x), 1).unbind()]
    different = cosine[cosine < 1 - 1e-6].sort().values
    gaps = different.diff()
    return bool(((cosine - threshold).abs() > 1e-5).all() and (gaps > 1e-5).all())


@pytest.fixture(params=[(3, 5, 2), (1024, 16_384, 16_384)], ids=["small blocks", "large blocks"])
def blocks(request, monkeypatch):
    """Sizes of blocks, small ones so that few rows span several."""
    for name, size in zip(("_QUERIES", "_OTHERS", "_PAIRS"), request.param, strict=True):
        monkeypatch.setattr(module, name, size)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(40))
def test_blocks_agree_with_deciding_row_by_row(seed):
    rng = np.random.default_rng(seed)
    x = clumps(int(rng.integers(2, 30)), int(rng.integers(2, 24)), seed)
    order = rng.permutation(len(x))
    threshold = float(rng.uniform(0.5, 0.99))
    # Equal rows tie, and the first in the order wins in both.
    found = near_duplicates(x, torch.from_numpy(order), threshold)
    kept_for = {row: int(one) for row, one in enumerate(found.kept) if one != NONE}
    expected = one_after_another(x.double(), order.tolist(), threshold)
    assert set(kept_for) == set(expected)
    for row, one in kept_for.items():
        right = float(x[expected[row]].double() @ x[row].double())
        assert found.similarity[row] == pytest.approx(right, abs=1e-6)
        if is_clear(x, threshold):
            assert one == expected[row] or torch.equal(x[one], x[expected[row]])


@given(seeds, st.integers(2, 40), st.floats(0.3, 0.999))
def test_every_dropped_row_is_near_an_earlier_kept_row(seed, n, threshold):
    x = clumps(n, 6, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    kept, similarity = near_duplicates(x, order, threshold)
    place = {row: at for at, row in enumerate(order.tolist())}
    for row in range(n):
        if kept[row] == NONE:
            assert similarity[row] == 1
            continue
        assert kept[kept[row]] == NONE
        assert place[kept[row]] < place[row]
        assert float(x[row] @ x[kept[row]]) >= threshold - 1e-6
    stay = x[torch.from_numpy(np.flatnonzero(kept == NONE))].double()
    cosine = (stay @ stay.T).fill_diagonal_(-1)
    assume((cosine - threshold).abs().min() > 1e-6)
    assert (cosine < threshold).all()


def test_a_chain_of_small_steps_is_not_joined():
    angles = torch.linspace(0, torch.pi, 400)
    x = torch.stack([angles.cos(), angles.sin()], 1)
    threshold = float(np.cos(0.1))
    found = near_duplicates(x, torch.arange(400), threshold)
    leaders, sizes = np.unique(found.kept[found.kept != NONE], return_counts=True)
    # Within 0.1 on one side of a row, as those on the other come before it.
    assert len(leaders) == pytest.approx(np.pi / 0.1, abs=2)
    assert sizes.max() <= np.ceil(0.1 / (np.pi / 399))


def test_many_copies_of_one_row_leave_one():
    x = random_unit_rows(1, 16, 0).float().repeat(5000, 1)
    found = near_duplicates(x, torch.arange(5000).flip(0), 0.99)
    assert (found.kept[:4999] == 4999).all()
    assert found.kept[4999] == NONE


@given(seeds, st.integers(1, 40), st.integers(2, 60), st.floats(0.1, 0.99))
def test_coarse_rows_bound_the_cosines_from_above(seed, n, d, threshold):
    x = clumps(n, d, seed, spread=2.0)
    coarse = coarse_rows(x, threshold, "cpu")
    assert coarse.shape[1] <= d + 1
    # A remainder of almost nothing is the root of a difference that float32 rounds.
    assert (coarse @ coarse.T >= x @ x.T - SLACK).all()


def test_coarse_rows_of_few_directions_are_few_numbers():
    x = torch.nn.functional.pad(clumps(500, 8, 0), (0, 504))
    assert coarse_rows(x, 0.95, "cpu").shape[1] < 64


def test_equal_rows_are_duplicates_at_a_threshold_of_one():
    x = clumps(60, 48, 3)[:20].half()
    twice = torch.cat([x, x])
    found = near_duplicates(twice, torch.arange(40), 1.0)
    assert (found.kept[20:] != NONE).all()
    assert (found.similarity <= 1).all()


def test_progress_counts_every_row_and_no_rows_are_no_duplicates():
    decided: list[int] = []
    near_duplicates(clumps(2500, 4, 1), torch.arange(2500), 0.9, report=decided.append)
    assert sum(decided) == 2500
    found = near_duplicates(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), 0.9)
    assert len(found.kept) == len(found.similarity) == 0


def test_float16_rows_are_compared_in_float32():
    x = clumps(300, 32, 2)
    half = near_duplicates(x.half(), torch.arange(300), 0.9)
    dropped = np.flatnonzero(half.kept != NONE)
    unit = torch.nn.functional.normalize(x.half().double(), dim=1)
    exact = (unit[dropped] * unit[half.kept[dropped]]).sum(1)
    assert len(dropped) > 50
    np.testing.assert_allclose(half.similarity[dropped], exact, atol=1e-6)
