"""Decodes images to pixels, in this process or in others."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...store import StoreError
from ..sources.images.pixels import DecodedImage, UndecodableImage
from .batch_queue import Outcome
from .encoder import Encoder

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The pixels of the images that could be decoded, and the outcomes of all."""

    outcomes: list[Outcome]
    pixels: np.ndarray | None
    """One block (b, ...); None if b is 0. A tensor would be sent through shared memory."""
    seconds: float


def decode_all(
    images: Sequence[bytes | Outcome],
    preprocess: "Callable[[Image.Image], torch.Tensor]",
    decode: Callable[[bytes], DecodedImage],
) -> Decoded:
    """Decodes and preprocesses images; see `Encoder` for the arguments."""
    began = time.perf_counter()
    outcomes, pixels = [], []
    for encoded in images:
        if isinstance(encoded, Outcome):
            outcomes.append(encoded)
            continue
        try:
            image = decode(encoded)
            pixels.append(preprocess(image.rgb).numpy())
        except UndecodableImage as error:
            outcomes.append(Outcome(reason=error.reason, detail=error.detail))
            continue
        outcomes.append(Outcome(width=image.width, height=image.height))
    block = np.stack(pixels) if pixels else None
    return Decoded(outcomes=outcomes, pixels=block, seconds=time.perf_counter() - began)


class _Pipe(Protocol):
    """One end of a pipe, whose type differs between systems."""

    def send(self, obj: Any, /) -> None:
        """Sends an object."""
        ...

    def recv(self) -> Any:
        """Waits for an object."""
        ...


class Decoders:
    """Processes that decode, each with its own pipe and a thread of this process at its near end.

    A killed process closes its pipe, which raises here. With a queue that all processes share, the
    reader would wait forever for the rest of a result, which is sent in several writes.
    """

    def __init__(self, count: int, encoder: Encoder) -> None:
        self.count = count
        self._arguments = encoder.preprocess, encoder.decode
        self._far_end = threading.local()
        self._pool = ThreadPoolExecutor(count)

    def start(self, images: Sequence[bytes | Outcome]) -> "Future[Decoded]":
        """Sends images to be decoded."""
        return self._pool.submit(self._decode, images)

    def _decode(self, images: Sequence[bytes | Outcome]) -> Decoded:
        try:
            if not hasattr(self._far_end, "pipe"):
                self._far_end.pipe = self._start_process()
            self._far_end.pipe.send(images)
            return self._far_end.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise StoreError(
                "a process that decodes images died (perhaps out of memory): run the same "
                "command again, with a lower --batch-size if memory is short; finished parts are "
                "kept"
            ) from error

    def _start_process(self) -> _Pipe:
        context = get_context("spawn")
        near, far = context.Pipe()
        context.Process(target=_decode_for, args=(far, *self._arguments), daemon=True).start()
        far.close()
        return near


def _decode_for(pipe: _Pipe, preprocess: Any, decode: Callable[[bytes], DecodedImage]) -> None:
    """Decodes what arrives in a pipe until its other end is closed."""
    import torch

    # Ctrl-C reaches all processes of a terminal; the one that embeds ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            pipe.send(decode_all(pipe.recv(), preprocess, decode))
