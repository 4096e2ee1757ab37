"""Samples to embeddings, in order: read ahead of all, and decoded beside or ahead of the encoder.

On a CPU each core takes batches all the way from bytes to embeddings, by one thread: cores that
share one batch wait for one another at each layer of the network. Any other device is fed by
processes that decode for it, and embeds a batch while what came of the one before is written down.

The network sees batches of one size alone, so that the embedding of an image does not depend on
how many others there are: what is missing of a batch is filled up, see `_full`.
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
from .sources.images import UndecodableImage, decode
from .sources.source import Entry

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import torch
    from PIL import Image

T = TypeVar("T")
U = TypeVar("U")

BATCH_OF_A_CORE = 16
"""Images that a core embeds at once, whatever the batch size: it decides about last bits.

More are no faster, and hold more memory: of a MobileNetV2 a core embeds an image in 15.8 ms by 8,
14.1 by 16, and 13.8 to 14.5 by 64.
"""

_READERS = 1
"""Threads that read ahead: in order, as a table goes back to the start of a row group otherwise."""

_CHUNK = 8
"""Images that a process decodes in one go: so few that a batch begins to be decoded at once."""

_CHUNKS_AHEAD = 2
"""For each process that decodes: one in work, one at hand."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of an image."""

    width: int = 0
    height: int = 0
    """Of the image as it is in its file."""
    reason: str = ""
    """Why it has no embedding; empty where it has one."""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some samples in order, with the embeddings of those that have one."""

    entries: Sequence[Entry]
    fates: Sequence[Fate]
    """One for each entry."""
    embeddings: np.ndarray
    """Unit rows (b, d), float32, of the entries without a reason."""
    spent: Spent

    @property
    def skipped(self) -> int:
        """How many entries have no embedding."""
        return len(self.entries) - len(self.embeddings)


class Embedder:
    """Turns samples into embeddings, with all cores or with one other device.

    Processes that decode are kept from source to source, and end with this object.
    """

    def __init__(self, encoder: Encoder, batch_size: int, *, decoders: int | None = None) -> None:
        """With 0 `decoders` each core embeds; otherwise so many processes decode for the device.

        By default a CPU has none, and any other device as many as torch may use threads. The batch
        size is the device's; cores take theirs.
        """
        import torch

        self._encoder = encoder
        self._cores = torch.get_num_threads()
        if decoders is None:
            decoders = 0 if torch.device(encoder.device).type == "cpu" else self._cores
        self._batch_size = batch_size if decoders else BATCH_OF_A_CORE
        self._decoders = _Decoders(decoders, encoder) if decoders else None

    def embed(self, entries: Sequence[Entry]) -> Iterator[Batch]:
        """Batches of the samples, in order; memory is bounded by some batches."""
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

            def submit(entries: Sequence[Entry]) -> "_Decoding":
                chunks = [readers.submit(decoders.start, one) for one in _cut(entries, _CHUNK)]
                return _Decoding(entries=entries, chunks=chunks)

            for decoding in _ahead(submit, batches, most):
                following = decoding.launch(self._encoder, self._batch_size, decoders.count)
                if launched is not None:
                    yield launched()
                launched = following
        if launched is not None:
            yield launched()


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """The pixels of those of some images that have any."""

    fates: list[Fate]
    pixels: np.ndarray | None
    """One block (b, ...); None where b is 0. No tensor: to a pipe that would be shared memory."""
    seconds: float


def _read(entries: Sequence[Entry]) -> list[bytes | Fate]:
    """The encoded images, or why one cannot be had."""
    return [_read_one(entry) for entry in entries]


def _read_one(entry: Entry) -> bytes | Fate:
    try:
        return entry.read_image()
    except UndecodableImage as error:
        return Fate(reason=error.reason, detail=error.detail)


def _decode(
    encoded: Sequence[bytes | Fate],
    preprocess: "Callable[[Image.Image], torch.Tensor]",
    at_least: int | None,
) -> _Decoded:

    began = time.perf_counter()
    fates, pixels = [], []
    for one in encoded:
        if isinstance(one, Fate):
            fates.append(one)
            continue
        try:
            picture = decode(one, at_least=at_least)
        except UndecodableImage as error:
            fates.append(Fate(reason=error.reason, detail=error.detail))
            continue
        fates.append(Fate(width=picture.width, height=picture.height))
        pixels.append(preprocess(picture.rgb).numpy())
    block = np.stack(pixels) if pixels else None
    return _Decoded(fates=fates, pixels=block, seconds=time.perf_counter() - began)


def _embed(
    entries: Sequence[Entry],
    read: "Future[list[bytes | Fate]]",
    encoder: Encoder,
    cores: int,
) -> Batch:
    """A batch from bytes to embeddings, by this thread alone."""
    began = time.perf_counter()
    encoded = read.result()
    waited = time.perf_counter() - began
    decoded = _decode(encoded, encoder.preprocess, encoder.at_least)
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
    return Batch(entries=entries, fates=decoded.fates, embeddings=embeddings, spent=spent)


@dataclass(frozen=True, kw_only=True)
class _Decoding:
    """A batch that is read by threads and decoded by processes."""

    entries: Sequence[Entry]
    chunks: "Sequence[Future[tuple[float, Future[_Decoded]]]]"
    """Of each chunk the seconds that its reading took, and its decoding."""

    def launch(self, encoder: Encoder, batch_size: int, decoders: int) -> Callable[[], Batch]:
        """Begins to embed the batch when it is decoded; what it returns waits for that."""
        began = time.perf_counter()
        read = [chunk.result() for chunk in self.chunks]
        decoded = [decoding.result() for _, decoding in read]
        ready = time.perf_counter()
        blocks = [one.pixels for one in decoded if one.pixels is not None]
        rows = _launch(encoder, blocks, batch_size)
        launching = time.perf_counter() - ready

        def finish() -> Batch:
            began_to_wait = time.perf_counter()
            embeddings = rows()
            spent = {
                "read": sum(seconds for seconds, _ in read) / _READERS,
                "decode": sum(one.seconds for one in decoded) / decoders,
                "encode": launching + time.perf_counter() - began_to_wait,
                "waited": ready - began,
            }
            fates = [fate for one in decoded for fate in one.fates]
            return Batch(entries=self.entries, fates=fates, embeddings=embeddings, spent=spent)

        return finish


def _launch(
    encoder: Encoder, blocks: Sequence[np.ndarray], batch_size: int
) -> Callable[[], np.ndarray]:
    """Begins to embed blocks of pixels as one batch; in pinned memory, where a GPU copies it."""
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
    """Blocks of pixels as one batch, and the first image again until it is full.

    The end of a shard, and images that cannot be decoded, make batches smaller, and those are
    computed in another way: under 16 images a thread of PyTorch does not leave 1 x 1 convolutions
    to oneDNN, and products of fewer than 4 rows are other ones. Of a MobileNetV2 1.3 % of the
    float16 numbers had another last bit then, of a ViT 0.2 %. GPUs choose by the size, too.
    """
    import torch

    parts = [torch.from_numpy(one) for one in blocks]
    count, shape = sum(map(len, parts)), parts[0].shape[1:]
    full = torch.empty((batch_size, *shape), dtype=parts[0].dtype, pin_memory=pin_memory)
    torch.cat(parts, out=full[:count])
    full[count:] = full[0]
    return full


def _no_rows(encoder: Encoder) -> np.ndarray:

    return np.empty((0, encoder.size), np.float32)


class _Decoders:
    """Processes that decode, each with a pipe of its own, and a thread at the near end of it.

    A process that is killed closes its pipe, and so is noticed. Of a queue that processes share,
    half a result is waited for without an end; and results of this size are sent in pieces.
    """

    def __init__(self, count: int, encoder: Encoder) -> None:
        self.count = count
        self._how = encoder.preprocess, encoder.at_least
        self._far_end = threading.local()
        self._pool = ThreadPoolExecutor(count)

    def start(self, entries: Sequence[Entry]) -> "tuple[float, Future[_Decoded]]":
        """Reads images here and begins to decode them there; the seconds that reading took."""
        began = time.perf_counter()
        encoded = _read(entries)
        return time.perf_counter() - began, self._pool.submit(self._decode, encoded)

    def _decode(self, encoded: Sequence[bytes | Fate]) -> _Decoded:
        try:
            if not hasattr(self._far_end, "pipe"):
                self._far_end.pipe = self._start_process()
            self._far_end.pipe.send(encoded)
            return self._far_end.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise StoreError(
                "a process that decodes images died (out of memory?): run the same command again, "
                "where memory is short with a lower --batch-size; finished parts are kept"
            ) from error

    def _start_process(self) -> "Connection":
        context = get_context("spawn")
        near, far = context.Pipe()
        context.Process(target=_decode_for, args=(far, *self._how), daemon=True).start()
        far.close()
        return near


def _decode_for(pipe: "Connection", preprocess: Any, at_least: int | None) -> None:
    """Decodes what comes out of a pipe until that is closed, as by the end of who holds it."""
    import torch

    # Ctrl-C reaches all processes of a terminal: the one that embeds ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            pipe.send(_decode(pipe.recv(), preprocess, at_least))


def _cut(entries: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _ahead(submit: Callable[[T], U], items: Iterable[T], most: int) -> Iterator[U]:
    """What `submit` makes of the items, in order, submitted `most` ahead of what is asked for."""
    waiting: deque[U] = deque()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) > most:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


@contextlib.contextmanager
def _threads(count: int, **options: Any) -> Iterator[ThreadPoolExecutor]:
    """Threads whose work is dropped where the block is left early."""
    with ThreadPoolExecutor(count, **options) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _single_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in each of which torch uses no other."""
    import torch

    threads = torch.get_num_threads()
    try:
        with _threads(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        # What one thread sets, threads that come later begin with.
        torch.set_num_threads(threads)
