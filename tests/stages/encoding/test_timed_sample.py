"""A timed sample: the rate of a warm model, on images of all sources."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.encoding import timed_sample
from cpp_pipe.stages.encoding.embedder import BATCH_OF_A_CORE, Batch
from cpp_pipe.stages.encoding.encoder import Encoder
from cpp_pipe.stages.encoding.part_tables import EmbeddingRows
from cpp_pipe.stages.sources.images.folders import find_chunks
from cpp_pipe.stages.sources.source import SampleSource
from cpp_pipe.stages.sources.tar.shards import TarShard

from ..shards import write_shards
from ..sources.image_files import write_folder
from .test_embedder import torch_threads


@dataclass
class SlowNetwork:
    """A network that sleeps for each batch, and longer for the first."""

    network: Any
    first: float
    later: float
    batches: int = 0

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings by the network, after a pause."""
        time.sleep(self.later if self.batches else self.first)
        self.batches += 1
        return self.network.encode_image(pixels)


@pytest.fixture
def shards(tmp_path) -> list[TarShard]:
    return [TarShard.of(path) for path in write_shards(tmp_path, shards=4, size=100)]


def named(sources: Sequence[SampleSource]) -> dict[str, SampleSource]:
    """Sources by the names of their parts."""
    return {source.part_name: source for source in sources}


def slow(encoder: Encoder, first: float, later: float) -> tuple[Encoder, SlowNetwork]:
    """A model that pauses before each batch, and its network."""
    network = SlowNetwork(encoder.model, first, later)
    return replace(encoder, model=network), network


def test_the_first_batch_does_not_slow_the_rate(encoder, shards, monkeypatch):
    monkeypatch.setattr(timed_sample, "SECONDS", 2.0)
    model, network = slow(encoder, first=0.5, later=0.1)
    with torch_threads(1):
        sample = timed_sample.time_sample(model, named(shards), Runtime())
    assert sample.images == (network.batches - 1) * BATCH_OF_A_CORE == 3 * BATCH_OF_A_CORE
    assert 0.3 <= sample.seconds < 1.5
    assert sample.per_second > BATCH_OF_A_CORE / 0.5


def test_a_batch_that_takes_the_whole_time_is_enough(encoder, shards, monkeypatch):
    monkeypatch.setattr(timed_sample, "SECONDS", 0.5)
    model, network = slow(encoder, first=0.4, later=0.4)
    with torch_threads(1):
        sample = timed_sample.time_sample(model, named(shards), Runtime())
    assert network.batches == 1
    assert sample.images == BATCH_OF_A_CORE
    assert sample.per_second == pytest.approx(BATCH_OF_A_CORE / 0.4, rel=0.3)


def test_the_sample_has_images_of_all_sources_and_counts_them(encoder, shards, monkeypatch):
    monkeypatch.setattr(timed_sample, "SECONDS", 0.01)
    written, add = [], EmbeddingRows.add

    def add_and_note(rows: EmbeddingRows, batch: Batch) -> None:
        written.extend(batch.entries)
        add(rows, batch)

    monkeypatch.setattr(EmbeddingRows, "add", add_and_note)
    with torch_threads(4):
        sample = timed_sample.time_sample(encoder, named(shards), Runtime())
    assert sample.listed == {shard.part_name: 100 for shard in shards}
    keys = {entry.key for entry in written}
    assert len(keys) == 4 * BATCH_OF_A_CORE
    for shard in shards:
        with shard.open(shard.path.parent) as opened:
            first = {entry.key for entry in opened.samples[:BATCH_OF_A_CORE]}
        assert first <= keys


def test_fewer_images_than_a_batch_are_enough_for_a_sample(encoder, tmp_path):
    chunks = find_chunks(write_folder(tmp_path / "photos", 5))
    sample = timed_sample.time_sample(encoder, named(chunks), Runtime())
    assert (sample.images, sample.seen, sample.skipped) == (5, 5, 0)
    assert sample.bytes_for_image > 2 * encoder.size
