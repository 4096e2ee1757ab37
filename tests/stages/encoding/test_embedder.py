"""Samples to embeddings: in order, one outcome each, equal with cores and with processes."""

import contextlib
import io
import itertools
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from cpp_pipe.stages.encoding.embedder import BATCH_OF_A_CORE, Batch, Embedder
from cpp_pipe.stages.encoding.encoder import Encoder, load_encoder
from cpp_pipe.stages.sources.fields import SampleFields
from cpp_pipe.stages.sources.images.pixels import UndecodableImage
from cpp_pipe.store import ShardError, Store, StoreError

from ..small_models import DIGITS_CLIP, mobile_clip
from ..world import plan_of


@dataclass
class Sample:
    """An entry held in memory."""

    key: str
    encoded: bytes | Exception
    readers: list[tuple[str, str]] = field(default_factory=list)
    """The key and the reading thread of each read sample, in a list that samples share."""

    offset = None
    size = None

    def read_image(self) -> bytes:
        """The bytes, or the error that stands for them."""
        self.readers.append((self.key, threading.current_thread().name))
        if isinstance(self.encoded, Exception):
            raise self.encoded
        return self.encoded

    def fields(self) -> SampleFields:
        """Empty fields."""
        return SampleFields(caption=None, label=None, url=None, extra="{}")


def make_image(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 256, (32 + number % 7, 40, 3), dtype=np.uint8))


def samples(count: int) -> list[Sample]:
    """Distinct lossless images."""
    readers: list[tuple[str, str]] = []
    made = []
    for number in range(count):
        stream = io.BytesIO()
        make_image(number).save(stream, "PNG")
        made.append(Sample(str(number), stream.getvalue(), readers))
    return made


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Sets the number of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[0, 2], ids=["on all cores", "by processes"])
def embedder(request: pytest.FixtureRequest, encoder: Encoder) -> Embedder:
    """An embedder that decodes on the cores, or in processes."""
    with torch_threads(2):
        return Embedder(encoder, BATCH_OF_A_CORE, decoders=request.param)


def expected_rows(numbers: Sequence[int]) -> np.ndarray:
    """Embeddings of the images by plain open_clip, one at a time."""
    open_clip.add_model_config(DIGITS_CLIP["model_config"])
    network, _, preprocess = open_clip.create_model_and_transforms(
        "digits-clip", pretrained=str(DIGITS_CLIP["weights"])
    )
    network.eval()
    with torch.inference_mode():
        rows = [network.encode_image(preprocess(make_image(number))[None]) for number in numbers]
        return torch.nn.functional.normalize(torch.cat(rows), dim=-1).numpy()


def all_rows(batches: Sequence[Batch]) -> np.ndarray:
    return np.concatenate([batch.embeddings for batch in batches])


def test_every_sample_has_one_outcome_in_order_and_open_clips_embedding(embedder):
    given = samples(45)
    given[3] = Sample("3", b"no image")
    given[17] = Sample("17", UndecodableImage("unreadable", "gone"))
    given[44] = Sample("44", b"")
    batches = list(embedder.embed(given))
    assert [len(batch.entries) for batch in batches] == [16, 16, 13]
    assert [entry.key for batch in batches for entry in batch.entries] == [
        sample.key for sample in given
    ]
    outcomes = [outcome for batch in batches for outcome in batch.outcomes]
    reasons = {number: outcome.reason for number, outcome in enumerate(outcomes) if outcome.reason}
    assert reasons == {3: "unsupported", 17: "unreadable", 44: "empty"}
    assert outcomes[17].detail == "gone"
    assert sum(batch.skipped for batch in batches) == 3
    good = [number for number in range(45) if number not in reasons]
    assert [(outcomes[n].width, outcomes[n].height) for n in good] == [
        (40, 32 + n % 7) for n in good
    ]
    assert np.abs(all_rows(batches) - expected_rows(good)).max() < 1e-6
    # The embedder can be reused.
    again = list(embedder.embed(given[:16]))
    assert np.array_equal(all_rows(again), batches[0].embeddings)


def thin_png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1)])
def test_an_image_too_thin_to_be_scaled_is_skipped_as_too_large(embedder, size):
    given = samples(3)
    given[1] = Sample("1", thin_png(*size))
    assert len(thin_png(*size)) < 2000
    (batch,) = embedder.embed(given)
    assert [outcome.reason for outcome in batch.outcomes] == ["", "too_large", ""]
    assert np.abs(batch.embeddings - expected_rows([0, 2])).max() < 1e-6


def test_a_thin_image_that_can_be_scaled_is_embedded(embedder, encoder):
    (batch,) = embedder.embed([Sample("0", thin_png(2, 20_000))])
    assert batch.embeddings.shape == (1, encoder.size)


def test_samples_without_images_give_no_rows(embedder, encoder):
    (batch,) = embedder.embed([Sample(str(number), b"") for number in range(5)])
    assert batch.embeddings.shape == (0, encoder.size)
    assert batch.skipped == 5
    assert list(embedder.embed([])) == []


def test_an_embedding_does_not_depend_on_the_rest_of_its_batch(embedder):
    given = samples(40)
    rows = all_rows(list(embedder.embed(given)))
    for count in (1, 2, 3, 15, 17, 33):
        assert np.array_equal(all_rows(list(embedder.embed(given[:count]))), rows[:count])
    given[1:15] = [Sample(sample.key, b"no image") for sample in given[1:15]]
    (first, *_) = embedder.embed(given)
    assert np.array_equal(first.embeddings, rows[[0, 15]])


def test_a_convolutional_embedding_does_not_depend_on_the_rest_of_its_batch(shared):
    mobile = load_encoder("mnv2-clip", "local", files=mobile_clip(shared), device="cpu")
    given = samples(18)
    with torch_threads(1):  # with more, PyTorch uses oneDNN for all convolutions
        embedder = Embedder(mobile, 64)
        rows = [all_rows(list(embedder.embed(given[:count]))) for count in (18, 2, 1)]
    assert all(np.array_equal(rows[0][: len(row)], row) for row in rows[1:])


def test_cores_and_the_batch_size_change_no_bit_on_a_cpu(encoder):
    given = samples(50)
    rows = []
    for cores, size in [(1, 16), (1, 1), (1, 3), (2, 16), (2, 64), (3, 500)]:
        with torch_threads(cores):
            rows.append(all_rows(list(Embedder(encoder, size).embed(given))))
    assert all(np.array_equal(rows[0], row) for row in rows[1:])


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_content_does_not_depend_on_the_batch_size(digit_shards, tmp_path, batch_size):
    by_16, other = (
        plan_of(Store(tmp_path / str(size)), digit_shards, batch_size=size).make("embeddings")
        for size in (16, batch_size)
    )
    assert by_16.content == other.content


@dataclass
class CountingNetwork:
    """A network that counts the batches that it embeds."""

    network: Any
    batches: int = 0

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings by the network."""
        self.batches += 1
        return self.network.encode_image(pixels)


@pytest.mark.parametrize("decoders", [0, 2])
def test_sources_share_batches_and_each_gets_its_own_rows(encoder, decoders):
    given = samples(70)
    given[9] = Sample("9", b"no image")
    network = CountingNetwork(encoder.model)
    with torch_threads(2):
        embedder = Embedder(replace(encoder, model=network), 16, decoders=decoders)
    whole = list(embedder.embed(given))
    assert network.batches == 5
    cuts = [0, 1, 2, 3, 20, 21, 40, 41, 42, 43, 44, 45, 46, 47, 48, 70]
    sources = [given[start:stop] for start, stop in itertools.pairwise(cuts)]
    begun = [threading.Event() for _ in sources] + [threading.Event()]

    def embed(number: int) -> list[Batch]:
        begun[number].wait()

        def begin_next() -> bool:
            begun[number + 1].set()
            return number + 1 < len(sources)

        return list(embedder.embed(sources[number], begin_next))

    network.batches = 0
    begun[0].set()
    with ThreadPoolExecutor(len(sources)) as pool:
        shared = list(pool.map(embed, range(len(sources))))
    for source, batches in zip(sources, shared, strict=True):
        assert [entry for batch in batches for entry in batch.entries] == list(source)
    batches = list(itertools.chain.from_iterable(shared))
    assert np.array_equal(all_rows(batches), all_rows(whole))
    outcomes = [outcome for batch in batches for outcome in batch.outcomes]
    assert outcomes == [outcome for batch in whole for outcome in batch.outcomes]
    assert network.batches <= 6, "15 sources, with a small batch at the end and perhaps one more"


def test_a_failing_source_leaves_the_others_intact(embedder):
    given = samples(40)
    failing = [*samples(20)[:5], Sample("5", ShardError("the shard was changed"))]
    expected = all_rows(list(embedder.embed(given)))
    has_failed = threading.Event()

    def embed_after_the_failure() -> np.ndarray:
        has_failed.wait()
        return all_rows(list(embedder.embed(given)))

    with ThreadPoolExecutor(1) as pool:
        first = embedder.embed(given[:8], lambda: True)
        rows = [next(first)]
        with pytest.raises(ShardError, match="changed"):
            list(embedder.embed(failing))
        other = pool.submit(embed_after_the_failure)
        has_failed.set()
        assert np.array_equal(other.result(), expected)
        assert np.array_equal(all_rows([*rows, *first]), expected[:8])


def test_samples_are_read_in_order_and_only_some_batches_ahead(embedder):
    given = samples(400)
    read = given[0].readers
    batches = embedder.embed(given)
    next(batches)
    while True:
        before = len(read)
        time.sleep(0.3)
        if len(read) == before:
            break
    assert len(read) <= BATCH_OF_A_CORE * 7
    assert len(list(batches)) == 24
    assert [key for key, _ in read] == [sample.key for sample in given]


def test_a_failing_source_raises_and_nothing_after_it_is_read(embedder):
    given = samples(400)
    given[40] = Sample("40", ShardError("the shard was changed"))
    with pytest.raises(ShardError, match="changed"):
        list(embedder.embed(given))
    assert len(given[0].readers) == 40


def test_stopping_half_way_restores_torchs_threads(encoder):
    with torch_threads(2):
        batches = Embedder(encoder, 16).embed(samples(400))
        next(batches)
        del batches
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2


def test_each_batch_reports_the_time_spent(embedder):
    began = time.perf_counter()
    spent = [batch.spent for batch in embedder.embed(samples(64))]
    seconds = time.perf_counter() - began
    for name in ("read", "decode", "encode", "waited"):
        in_all = sum(seconds_of[name] for seconds_of in spent)
        assert 0 < in_all < seconds, name


def test_a_killed_decoder_is_reported_in_one_sentence(encoder):
    others = set(multiprocessing.active_children())
    batches = Embedder(encoder, 16, decoders=1).embed(samples(400))
    next(batches)
    (decoder,) = set(multiprocessing.active_children()) - others
    decoder.kill()
    with pytest.raises(StoreError, match=r"died .* run the same command again"):
        list(batches)


@pytest.mark.slow
def test_processes_end_with_the_embedder(encoder):
    others = set(multiprocessing.active_children())
    embedder = Embedder(encoder, 16, decoders=1)
    assert len(list(embedder.embed(samples(40)))) == 3
    started = set(multiprocessing.active_children()) - others
    assert started
    del embedder
    for process in started:
        process.join(20)
    assert not any(process.is_alive() for process in started)


def test_jpegs_are_decoded_at_a_fraction_if_the_encoder_allows_it(encoder):
    stream = io.BytesIO()
    make_image(0).resize((640, 480), Image.Resampling.BICUBIC).save(stream, "JPEG")
    given = [Sample("0", stream.getvalue())]
    scaled = replace(encoder, identity={**encoder.identity, "scaled_jpeg": True})
    (whole,) = Embedder(encoder, 1).embed(given)
    for decoders in (0, 1):
        (part,) = Embedder(scaled, 1, decoders=decoders).embed(given)
        assert part.outcomes == whole.outcomes  # the size is that of the file
        assert not np.array_equal(part.embeddings, whole.embeddings)
        assert (part.embeddings * whole.embeddings).sum() > 0.99


class WithoutDirections(torch.nn.Module):
    """A network that gives NaN for a white image, and zeros for a black one."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """The network's rows, with invalid ones for flat images."""
        rows = self.network.encode_image(pixels)  # pyright: ignore[reportCallIssue]
        channels = pixels.flatten(2)
        is_flat = (channels.amax(2) - channels.amin(2) < 1e-4).all(1)
        is_light = channels[:, 0, 0] > 0
        rows[is_flat & is_light] = torch.nan
        rows[is_flat & ~is_light] = 0
        return rows


@pytest.mark.parametrize("decoders", [0, 1])
def test_an_image_whose_vector_has_no_direction_is_skipped_with_the_reason(encoder, decoders):
    """Such rows used to be stored, and a reader refused the whole artifact."""
    given = samples(20)
    for number, colour in ((3, "white"), (17, "black")):
        stream = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(stream, "PNG")
        given[number] = Sample(str(number), stream.getvalue())
    flat = replace(encoder, model=WithoutDirections(encoder.model))
    batches = list(Embedder(flat, 16, decoders=decoders).embed(given))
    outcomes = [outcome for batch in batches for outcome in batch.outcomes]
    reasons = {number: one.reason for number, one in enumerate(outcomes) if one.reason}
    assert reasons == {3: "not_finite", 17: "zero_norm"}
    kept = [number for number in range(20) if number not in reasons]
    np.testing.assert_allclose(all_rows(batches), expected_rows(kept), atol=1e-5)
