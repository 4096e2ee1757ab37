"""Shuffled batches: every row once per epoch, in an order that only depends on seed and epoch."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.training import Trainer, train_step
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.rows.streamed_rows import StreamedRows, shuffled_batches
from cpp_pipe.store import ConfigError

from .random_parts import make_embeddings

SIZES = (70, 1, 0, 130, 55)
ROWS = sum(SIZES)


def batches_of(artifact, *, batch=16, buffer_rows=64, seed=0, epoch=0):
    """An epoch as a list of batches."""
    return list(
        shuffled_batches(artifact, batch=batch, buffer_rows=buffer_rows, seed=seed, epoch=epoch)
    )


def numbers_of(batches, x):
    """The row numbers of rows; KeyError for a row that is not in the artifact."""
    number = {row.tobytes(): i for i, row in enumerate(x)}
    assert len(number) == len(x)
    return np.array([number[row.tobytes()] for batch in batches for row in batch], int)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Embeddings in several parts, one of them empty, and their rows."""
    return make_embeddings(tmp_path_factory.mktemp("stream"), SIZES)


@given(st.integers(1, ROWS), st.integers(0, 2 * ROWS), st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_an_epoch_has_every_row_once_except_a_short_last_batch(made, batch, more, seed, epoch):
    artifact, x = made
    batches = batches_of(artifact, batch=batch, buffer_rows=batch + more, seed=seed, epoch=epoch)
    assert [drawn.shape for drawn in batches] == [(batch, x.shape[1])] * (ROWS // batch)
    assert {drawn.dtype for drawn in batches} == {np.dtype(np.float16)}
    numbers = numbers_of(batches, x)
    assert len(set(numbers.tolist())) == len(numbers)


def test_a_batch_does_not_change_while_later_ones_are_drawn(made):
    artifact, _ = made
    copies = [
        drawn.copy()
        for drawn in shuffled_batches(artifact, batch=16, buffer_rows=64, seed=0, epoch=0)
    ]
    assert np.array_equal(copies, batches_of(artifact))


def test_seed_and_epoch_decide_the_order(made):
    artifact, _ = made
    first = np.stack(batches_of(artifact, seed=3, epoch=4))
    assert (np.stack(batches_of(artifact, seed=3, epoch=4)) == first).all()
    for seed, epoch in ((3, 5), (4, 4), (4, 3)):
        assert (np.stack(batches_of(artifact, seed=seed, epoch=epoch)) != first).any()


def test_a_batch_mixes_rows_of_different_parts(tmp_path):
    artifact, x = make_embeddings(tmp_path, (500, 500, 500, 500))
    batches = batches_of(artifact, batch=32, buffer_rows=400)
    parts = [set((numbers_of([batch], x) // 500).tolist()) for batch in batches]
    assert np.mean([len(some) for some in parts]) > 3
    assert min(len(some) for some in parts) > 1


def test_neighbouring_rows_are_separated_in_an_epoch(tmp_path):
    artifact, x = make_embeddings(tmp_path, (1000, 1000))
    numbers = numbers_of(batches_of(artifact, batch=10, buffer_rows=200), x)
    assert (np.diff(numbers) == 1).mean() < 0.02


def test_a_buffer_of_all_rows_makes_a_uniform_shuffle(tmp_path):
    artifact, x = make_embeddings(tmp_path, (2, 3))
    epochs = 500
    first = [
        numbers_of(batches_of(artifact, batch=1, buffer_rows=5, epoch=epoch)[:1], x)[0]
        for epoch in range(epochs)
    ]
    # 100 each, standard deviation 9: five of them are one failure in a million seeds.
    assert np.abs(np.bincount(first, minlength=5) - epochs / 5).max() < 45


def peak_of_an_epoch(artifact) -> int:
    """Peak bytes held by Python and NumPy in this process."""
    tracemalloc.start()
    try:
        for _ in shuffled_batches(artifact, batch=256, buffer_rows=1024, seed=0, epoch=0):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("rewrite", "held_rows"),
    [
        (None, 1024 + 64 + 256),
        ({"compression": "zstd", "row_group_size": 1000}, 1024 + 1000 + 256),
    ],
)
def test_an_epoch_needs_memory_for_a_buffer_a_block_and_a_batch(tmp_path, rewrite, held_rows):
    width = 128
    artifact, _ = make_embeddings(tmp_path, (8000, 8000), width, rewrite=rewrite)
    batches_of(artifact, batch=256, buffer_rows=1024)  # imports would count for the epoch
    # Threads left by other tests allocate too.
    peak = min(peak_of_an_epoch(artifact) for _ in range(3))
    # Two batches exist while the next one is drawn, and moving rows takes a quarter.
    assert peak < 2 * width * (held_rows + 256 + 1024 // 4) + 150_000
    assert peak < 2 * width * artifact.rows / 4


@pytest.mark.parametrize(
    ("batch", "buffer_rows", "message"),
    [
        (ROWS + 1, 1000, f"batch must be from 1 to the {ROWS} rows of .*, got {ROWS + 1}"),
        (0, 1000, "batch must be .*, got 0"),
        (16, 15, "buffer_rows must be at least the batch, 16, got 15"),
    ],
)
def test_a_batch_that_can_never_be_full_is_refused(made, batch, buffer_rows, message):
    artifact, _ = made
    with pytest.raises(ConfigError, match=message):
        shuffled_batches(artifact, batch=batch, buffer_rows=buffer_rows, seed=0, epoch=0)


def test_training_on_streamed_rows_takes_the_same_steps_as_in_memory(made):
    artifact, x = made
    settings = {"hidden": 8, "features": 3, "batch": 32, "epochs": 2, "eta": 0.2, "checks": 0}
    config = TrainingConfig(**settings, columns=0)
    streamed = StreamedRows(artifact, len(x), 0)
    trainer = Trainer(streamed, config, "cpu")
    other = Trainer(torch.from_numpy(x), config, "cpu")
    for name, value in other.heads.state_dict().items():
        torch.testing.assert_close(trainer.heads.state_dict()[name], value, msg=name)
    order = numbers_of([batch.numpy() for batch in streamed.batches(32, 0, 0)], x)
    for step in range(3):
        rows = torch.from_numpy(x[order[32 * step : 32 * step + 32]]).float()
        expected = train_step(other.heads, other.optimizer, rows, config, step)
        torch.testing.assert_close(trainer.step().loss, expected.loss)


def test_training_on_streamed_rows_resumes(made):
    artifact, _ = made
    config = TrainingConfig(hidden=8, features=3, batch=32, epochs=3, eta=0.2, checks=0)
    whole, first, second = (Trainer(StreamedRows(artifact, 80, 0), config, "cpu") for _ in "abc")
    losses = [float(whole.step().loss) for _ in range(whole.total_steps)]
    for _ in range(11):
        first.step()
    second.load_state(first.state())
    assert [float(second.step().loss) for _ in range(11, second.total_steps)] == losses[11:]


def test_rows_by_number_are_those_of_the_artifact(made):
    artifact, x = made
    rows = StreamedRows(artifact, 10, 0)
    assert np.array_equal(rows[3:200].numpy(), x[3:200])
    assert np.array_equal(rows[torch.tensor([0, 69, 70, 71, 255])].numpy(), x[[0, 69, 70, 71, 255]])
