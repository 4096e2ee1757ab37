"""Samples to embeddings, in order: read ahead, decoded, and encoded in batches.

On a CPU each core takes whole batches from bytes to embeddings in one thread, because cores that
share a batch wait for one another at each layer of the network. Any other device gets its pixels
from processes that decode, and encodes a batch while the results of the previous one are recorded.

The network only sees batches of one size, so that an image's embedding does not depend on how many
other images there are: a smaller batch is padded, see `_full`.
"""

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..store import StoreError
from .contract import Spent
from .encoder import Encoder
from .sources.images.pixels import DecodedImage, UndecodableImage
from .sources.source import Entry

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import torch
    from PIL import Image

T = TypeVar("T")
U = TypeVar("U")

BATCH_OF_A_CORE = 16
"""Images that a core embeds at once, whatever `--batch-size` is, because it changes last bits.

Larger batches are no faster and take more memory: with a MobileNetV2 a core embeds an image in
15.8 ms in batches of 8, 14.1 ms in batches of 16, and 13.8 to 14.5 ms in batches of 64.
"""

_READERS = 1
"""Threads that read ahead. One reads in order; several would make a table go back to the start of
a row group."""

_CHUNK = 8
"""Images that a process decodes at a time: few, so that all processes soon work on one batch."""

_CHUNKS_AHEAD = 2
"""Chunks for each decoding process: one in work, one waiting."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Size of an image, or why it has no embedding."""

    width: int = 0
    height: int = 0
    """Pixels of the image as stored in its file."""
    reason: str = ""
    """Why it has no embedding; empty where it has one."""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Consecutive samples, with the embeddings of those that have one."""

    entries: Sequence[Entry]
    outcomes: Sequence[Outcome]
    """One for each entry."""
    embeddings: np.ndarray
    """Unit rows (b, d), float32, of the entries whose outcome has no reason."""
    spent: Spent

    @property
    def skipped(self) -> int:
        """How many entries have no embedding."""
        return len(self.entries) - len(self.embeddings)


class Embedder:
    """Turns samples into embeddings, on all cores or on one other device.

    Decoding processes are reused from source to source, and end with this object.
    """

    def __init__(self, encoder: Encoder, batch_size: int, *, decoders: int | None = None) -> None:
        """With 0 `decoders` each core embeds; otherwise that many processes decode for the device.

        By default a CPU has none, and any other device one for each thread that torch may use.
        `batch_size` is the device's; cores use `BATCH_OF_A_CORE`.
        """
        import torch

        self._encoder = encoder
        self._cores = torch.get_num_threads()
        if decoders is None:
            decoders = 0 if torch.device(encoder.device).type == "cpu" else self._cores
        self._batch_size = batch_size if decoders else BATCH_OF_A_CORE
        self._decoders = _Decoders(decoders, encoder) if decoders else None

    def embed(self, entries: Sequence[Entry]) -> Iterator[Batch]:
        """Batches of the samples, in order; holds a bounded number of batches."""
        batches = _cut(entries, self._batch_size)
        if self._decoders is None:
            return self._on_all_cores(batches)
        return self._on_device(batches, self._decoders)

    def _on_all_cores(self, batches: Iterable[Sequence[Entry]]) -> Iterator[Batch]:
        with _threads(_READERS) as readers, _single_threads(self._cores) as cores:

            def submit(entries: Sequence[Entry]) -> "Future[Batch]":
                read = readers.submit(_read, entries)
                return cores.submit(_embed, entries, read, self._encoder, self._cores)

            for batch in _ahead(submit, batches, 2 * self._cores):
                yield batch.result()

    def _on_device(
        self, batches: Iterable[Sequence[Entry]], decoders: "_Decoders"
    ) -> Iterator[Batch]:
        chunks_of_a_batch = -(-self._batch_size // _CHUNK)
        most = 1 + -(-_CHUNKS_AHEAD * decoders.count // chunks_of_a_batch)
        launched = None
        with _threads(_READERS) as readers:

            def submit(entries: Sequence[Entry]) -> "_PendingBatch":
                chunks = [readers.submit(decoders.start, chunk) for chunk in _cut(entries, _CHUNK)]
                return _PendingBatch(entries=entries, chunks=chunks)

            for pending in _ahead(submit, batches, most):
                following = pending.launch(self._encoder, self._batch_size, decoders.count)
                if launched is not None:
                    yield launched()
                launched = following
        if launched is not None:
            yield launched()


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """The pixels of the images that could be decoded, and the outcomes of all."""

    outcomes: list[Outcome]
    pixels: np.ndarray | None
    """One block (b, ...); None where b is 0. A tensor would be sent through shared memory."""
    seconds: float


def _read(entries: Sequence[Entry]) -> list[bytes | Outcome]:
    """The encoded images, or why one cannot be read."""
    return [_read_one(entry) for entry in entries]


def _read_one(entry: Entry) -> bytes | Outcome:
    try:
        return entry.read_image()
    except UndecodableImage as error:
        return Outcome(reason=error.reason, detail=error.detail)


def _decode(
    encoded: Sequence[bytes | Outcome],
    preprocess: "Callable[[Image.Image], torch.Tensor]",
    decode: Callable[[bytes], DecodedImage],
) -> _Decoded:

    began = time.perf_counter()
    outcomes, pixels = [], []
    for image_bytes in encoded:
        if isinstance(image_bytes, Outcome):
            outcomes.append(image_bytes)
            continue
        try:
            image = decode(image_bytes)
        except UndecodableImage as error:
            outcomes.append(Outcome(reason=error.reason, detail=error.detail))
            continue
        outcomes.append(Outcome(width=image.width, height=image.height))
        pixels.append(preprocess(image.rgb).numpy())
    block = np.stack(pixels) if pixels else None
    return _Decoded(outcomes=outcomes, pixels=block, seconds=time.perf_counter() - began)


def _embed(
    entries: Sequence[Entry],
    read: "Future[list[bytes | Outcome]]",
    encoder: Encoder,
    cores: int,
) -> Batch:
    """A batch from bytes to embeddings, in this thread alone."""
    began = time.perf_counter()
    encoded = read.result()
    waited = time.perf_counter() - began
    decoded = _decode(encoded, encoder.preprocess, encoder.decode)
    began = time.perf_counter()
    embeddings = _no_rows(encoder)
    if decoded.pixels is not None:
        pixels = _full([decoded.pixels], BATCH_OF_A_CORE)
        embeddings = encoder.images(pixels)[: len(decoded.pixels)]
    spent = {
        "read": waited / cores,
        "decode": decoded.seconds / cores,
        "encode": (time.perf_counter() - began) / cores,
        "waited": (waited + decoded.seconds) / cores,
    }
    return Batch(entries=entries, outcomes=decoded.outcomes, embeddings=embeddings, spent=spent)


@dataclass(frozen=True, kw_only=True)
class _PendingBatch:
    """A batch that threads read and processes decode."""

    entries: Sequence[Entry]
    chunks: "Sequence[Future[tuple[float, Future[_Decoded]]]]"
    """For each chunk the seconds that reading it took, and its decoded images."""

    def launch(self, encoder: Encoder, batch_size: int, decoders: int) -> Callable[[], Batch]:
        """Waits until the batch is decoded, starts encoding, and returns a function to await it."""
        began = time.perf_counter()
        read = [chunk.result() for chunk in self.chunks]
        decoded = [chunk.result() for _, chunk in read]
        ready = time.perf_counter()
        blocks = [chunk.pixels for chunk in decoded if chunk.pixels is not None]
        rows = _launch(encoder, blocks, batch_size)
        launching = time.perf_counter() - ready

        def finish() -> Batch:
            began_to_wait = time.perf_counter()
            embeddings = rows()
            spent = {
                "read": sum(seconds for seconds, _ in read) / _READERS,
                "decode": sum(chunk.seconds for chunk in decoded) / decoders,
                "encode": launching + time.perf_counter() - began_to_wait,
                "waited": ready - began,
            }
            outcomes = [outcome for chunk in decoded for outcome in chunk.outcomes]
            return Batch(
                entries=self.entries, outcomes=outcomes, embeddings=embeddings, spent=spent
            )

        return finish


def _launch(
    encoder: Encoder, blocks: Sequence[np.ndarray], batch_size: int
) -> Callable[[], np.ndarray]:
    """Starts to encode blocks of pixels as one batch, in pinned memory for a GPU."""
    import torch

    if not blocks:
        return lambda: _no_rows(encoder)
    is_gpu = torch.device(encoder.device).type == "cuda"
    rows = encoder.launch(_full(blocks, batch_size, pin_memory=is_gpu))
    count = sum(map(len, blocks))
    return lambda: rows()[:count]


def _full(
    blocks: Sequence[np.ndarray], batch_size: int, *, pin_memory: bool = False
) -> "torch.Tensor":
    """Blocks of pixels as one batch, padded with copies of the first image.

    At the end of a shard, or where images cannot be decoded, a batch would be smaller, and PyTorch
    would compute it differently: below 16 images a thread does not use oneDNN for 1 x 1
    convolutions, and products of fewer than 4 rows use another kernel. That changed the last bit of
    1.3 % of the float16 numbers of a MobileNetV2, and of 0.2 % of a ViT's. GPUs also choose their
    kernels by the size.
    """
    import torch

    parts = [torch.from_numpy(block) for block in blocks]
    count, shape = sum(map(len, parts)), parts[0].shape[1:]
    full = torch.empty((batch_size, *shape), dtype=parts[0].dtype, pin_memory=pin_memory)
    torch.cat(parts, out=full[:count])
    full[count:] = full[0]
    return full


def _no_rows(encoder: Encoder) -> np.ndarray:

    return np.empty((0, encoder.size), np.float32)


class _Decoders:
    """Processes that decode, each with a pipe of its own and a thread at the near end of it.

    A killed process closes its pipe, which raises here. With a queue that all processes share, the
    reader would wait forever for the rest of a result, which is sent in several writes.
    """

    def __init__(self, count: int, encoder: Encoder) -> None:
        self.count = count
        self._arguments = encoder.preprocess, encoder.decode
        self._far_end = threading.local()
        self._pool = ThreadPoolExecutor(count)

    def start(self, entries: Sequence[Entry]) -> "tuple[float, Future[_Decoded]]":
        """Reads images here and sends them to be decoded; the seconds that reading took."""
        began = time.perf_counter()
        encoded = _read(entries)
        return time.perf_counter() - began, self._pool.submit(self._decode, encoded)

    def _decode(self, encoded: Sequence[bytes | Outcome]) -> _Decoded:
        try:
            if not hasattr(self._far_end, "pipe"):
                self._far_end.pipe = self._start_process()
            self._far_end.pipe.send(encoded)
            return self._far_end.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise StoreError(
                "a process that decodes images died (perhaps out of memory): run the same "
                "command again, with a lower --batch-size if memory is short; finished parts are "
                "kept"
            ) from error

    def _start_process(self) -> "Connection":
        context = get_context("spawn")
        near, far = context.Pipe()
        context.Process(target=_decode_for, args=(far, *self._arguments), daemon=True).start()
        far.close()
        return near


def _decode_for(
    pipe: "Connection", preprocess: Any, decode: Callable[[bytes], DecodedImage]
) -> None:
    """Decodes what arrives in a pipe until its other end is closed."""
    import torch

    # Ctrl-C reaches all processes of a terminal; the one that embeds ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            pipe.send(_decode(pipe.recv(), preprocess, decode))


def _cut(entries: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _ahead(submit: Callable[[T], U], items: Iterable[T], most: int) -> Iterator[U]:
    """The results of `submit` for all items, in order; submits up to `most` items ahead."""
    waiting: deque[U] = deque()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) > most:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


@contextlib.contextmanager
def _threads(count: int, **options: Any) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads whose pending work is cancelled when the block is left early."""
    with ThreadPoolExecutor(count, **options) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _single_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch uses one thread each."""
    import torch

    threads = torch.get_num_threads()
    try:
        with _threads(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        # A thread's setting becomes the default of threads that start later.
        torch.set_num_threads(threads)
