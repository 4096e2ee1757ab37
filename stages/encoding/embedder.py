"""Turns samples into embeddings, in order: reads ahead, decodes, and encodes in batches.

On a CPU each core takes whole batches from bytes to embeddings in one thread, because cores that
share a batch wait for one another at each layer of the network. Any other device gets its pixels
from processes that decode, and encodes a batch while the results of the previous one are recorded.

Batches hold images of several sources, so that no core waits at the end of a source. The network
only sees batches of one size, so that an image's embedding does not depend on which other images
there are: a smaller batch is padded, see `_full`.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from ..sources.embeddings.columns import find_faulty
from ..sources.images.pixels import UndecodableImage
from ..sources.source import Entry
from .batch_queue import Batch, BatchQueue, Embedded, Outcome, PendingBatch
from .decoders import Decoded, Decoders, decode_all
from .encoder import Encoder

if TYPE_CHECKING:
    import torch

BATCH_OF_A_CORE = 16
"""Images that a core embeds at once, whatever `--batch-size` is, because it changes last bits.

Larger batches are no faster and take more memory: with a MobileNetV2 a core embeds an image in
15.8 ms in batches of 8, 14.1 ms in batches of 16, and 13.8 to 14.5 ms in batches of 64.
"""

_BATCHES_AHEAD = 2
"""Batches that wait for each core."""

_CHUNK = 8
"""Images that are read, or that a process decodes, at a time: few, so that all processes soon work
on one batch."""

_CHUNKS_AHEAD = 2
"""Chunks for each decoding process: one in work, one waiting."""


class Embedder:
    """Turns samples into embeddings, on all cores or on one other device.

    Any number of threads may embed a source each at once. Decoding processes are reused from source
    to source, and end with this object.
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
        self._decoders = Decoders(decoders, encoder) if decoders else None
        self._lock = threading.Lock()
        self._users = 0
        """Sources that are being embedded."""
        self._queue = BatchQueue(self._batch_size, 1)
        self._threads: list[threading.Thread] = []

    @property
    def at_once(self) -> int:
        """Images in work at a time: a batch on each core, or two on another device."""
        return self._batch_size * (self._cores if self._decoders is None else 2)

    def embed(
        self, entries: Sequence[Entry], begin_next: Callable[[], bool] = lambda: False
    ) -> Generator[Batch]:
        """Batches of the samples, in order; holds a bounded number of encoded images.

        Calls `begin_next` when the first is read; it returns whether another source follows, whose
        images may fill the last batch. Close the iterator if it is left early.
        """
        with (
            self._working() as queue,
            contextlib.closing(queue.embedded(_read_ahead(entries), begin_next)) as batches,
        ):
            yield from batches

    @contextlib.contextmanager
    def _working(self) -> Iterator[BatchQueue]:
        """The queue, emptied by threads for as long as any source is being embedded."""
        import torch

        with self._lock:
            if self._users == 0:
                self._start()
            self._users += 1
        try:
            yield self._queue
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._queue.close()
                    for thread in self._threads:
                        thread.join()
                    # A thread's setting becomes the default of threads that start later.
                    torch.set_num_threads(self._cores)

    def _start(self) -> None:
        if self._decoders is None:
            self._queue = BatchQueue(self._batch_size, _BATCHES_AHEAD * self._cores)
            targets = [self._work_on_core] * self._cores
        else:
            self._queue = BatchQueue(self._batch_size, 1)
            targets = [self._work_on_device]
        self._threads = [
            threading.Thread(target=target, args=(self._queue,), daemon=True) for target in targets
        ]
        for thread in self._threads:
            thread.start()

    def _work_on_core(self, queue: BatchQueue) -> None:
        import torch

        torch.set_num_threads(1)
        while True:
            began = time.perf_counter()
            batch = queue.take()
            if batch is None:
                return
            waited = time.perf_counter() - began
            _settle(batch, lambda batch=batch, waited=waited: self._embed(batch, waited))

    def _embed(self, batch: PendingBatch, waited: float) -> Embedded:
        """A batch from bytes to embeddings, in this thread alone."""
        decoded = decode_all(batch.images, self._encoder.preprocess, self._encoder.decode)
        began = time.perf_counter()
        embeddings = _no_rows(self._encoder)
        if decoded.pixels is not None:
            pixels = _full([decoded.pixels], self._batch_size)
            embeddings = self._encoder.images(pixels)[: len(decoded.pixels)]
        spent = {
            "read": batch.read_seconds,
            "decode": decoded.seconds / self._cores,
            "encode": (time.perf_counter() - began) / self._cores,
            "waited": (waited + decoded.seconds) / self._cores,
        }
        return _with_directions(decoded.outcomes, embeddings, spent)

    def _work_on_device(self, queue: BatchQueue) -> None:
        """Decodes some batches ahead, and launches each before it awaits the previous one."""
        assert self._decoders is not None
        chunks_of_a_batch = -(-self._batch_size // _CHUNK)
        most = 1 + -(-_CHUNKS_AHEAD * self._decoders.count // chunks_of_a_batch)
        decoding: deque[_Decoding] = deque()
        launched: _Launched | None = None
        while True:
            while len(decoding) <= most:
                batch = queue.take(wait=not decoding and launched is None)
                if batch is None:
                    break
                decoding.append(_Decoding(batch, self._decoders))
            if not decoding and launched is None:
                return
            following = None
            if decoding:
                following = decoding.popleft().launch(self._encoder, self._batch_size)
            if launched is not None:
                launched.settle()
            launched = following


def _settle(batch: PendingBatch, embed: Callable[[], Embedded]) -> None:
    """Gives a batch its result, or the error, which is raised where the result is awaited."""
    try:
        batch.embedded.set_result(embed())
    except BaseException as error:  # noqa: BLE001 - raised where the batch is awaited
        batch.embedded.set_exception(error)


class _Decoding:
    """A batch that processes decode."""

    def __init__(self, batch: PendingBatch, decoders: Decoders) -> None:
        self._batch = batch
        self._processes = decoders.count
        images = batch.images
        self._chunks: list[Future[Decoded]] = [
            decoders.start(images[start : start + _CHUNK])
            for start in range(0, len(images), _CHUNK)
        ]

    def launch(self, encoder: Encoder, batch_size: int) -> "_Launched | None":
        """Waits until the batch is decoded, and starts encoding; None if that failed."""
        try:
            began = time.perf_counter()
            chunks = [chunk.result() for chunk in self._chunks]
            ready = time.perf_counter()
            blocks = [chunk.pixels for chunk in chunks if chunk.pixels is not None]
            rows = _launch(encoder, blocks, batch_size)
        except BaseException as error:  # noqa: BLE001 - raised where the batch is awaited
            self._batch.embedded.set_exception(error)
            return None
        spent = {
            "read": self._batch.read_seconds,
            "decode": sum(chunk.seconds for chunk in chunks) / self._processes,
            "encode": time.perf_counter() - ready,
            "waited": ready - began,
        }
        outcomes = [outcome for chunk in chunks for outcome in chunk.outcomes]
        return _Launched(self._batch, rows, outcomes, spent)


class _Launched:
    """A batch that the device encodes."""

    def __init__(
        self,
        batch: PendingBatch,
        rows: Callable[[], np.ndarray],
        outcomes: list[Outcome],
        spent: dict[str, float],
    ) -> None:
        self._batch = batch
        self._rows = rows
        self._outcomes = outcomes
        self._spent = spent

    def settle(self) -> None:
        """Waits for the embeddings, and gives them to the batch."""
        _settle(self._batch, self._await)

    def _await(self) -> Embedded:
        began = time.perf_counter()
        embeddings = self._rows()
        self._spent["encode"] += time.perf_counter() - began
        return _with_directions(self._outcomes, embeddings, self._spent)


def _with_directions(
    outcomes: Sequence[Outcome], embeddings: np.ndarray, spent: dict[str, float]
) -> Embedded:
    """The embedded batch; images whose vector has no direction are skipped with that reason."""
    faulty = find_faulty(embeddings)
    if faulty:
        outcomes = list(outcomes)
        embedded = [place for place, outcome in enumerate(outcomes) if not outcome.reason]
        for row, (reason, detail) in faulty.items():
            outcomes[embedded[row]] = Outcome(reason=reason, detail=detail)
        embeddings = np.delete(embeddings, list(faulty), axis=0)
    return Embedded(outcomes=outcomes, embeddings=embeddings, spent=spent)


def _read_ahead(
    entries: Sequence[Entry],
) -> Iterator[tuple[Sequence[Entry], Sequence[bytes | Outcome], float]]:
    """Chunks of entries, their encoded images, and the seconds that reading took."""
    for start in range(0, len(entries), _CHUNK):
        chunk = entries[start : start + _CHUNK]
        began = time.perf_counter()
        images = [_read(entry) for entry in chunk]
        yield chunk, images, time.perf_counter() - began


def _read(entry: Entry) -> bytes | Outcome:
    """The encoded image, or why it cannot be read."""
    try:
        return entry.read_image()
    except UndecodableImage as error:
        return Outcome(reason=error.reason, detail=error.detail)


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

    At the end of the last source, or if images cannot be decoded, a batch would be smaller, and
    PyTorch would compute it differently: below 16 images a thread does not use oneDNN for 1 x 1
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
