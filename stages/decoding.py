"""Samples to pixels ahead of the encoder, and pixels to embeddings."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .encoder import Encoder
from .sources.tar import SampleEntry

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .sources.samples import ShardBytes

_DECODERS = 2
"""Threads that decode and resize while the encoder works; Pillow lets go of Python's lock."""

_LOOK_AHEAD = 2
"""Batches that are decoded before the encoder asks for them: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One sample's pixels, or why it has none."""

    entry: SampleEntry
    pixels: "torch.Tensor | None" = None
    width: int = 0
    height: int = 0
    reason: str = ""
    detail: str = ""


def decode_batches(
    samples: Sequence[SampleEntry], data: "ShardBytes", encoder: Encoder, batch_size: int
) -> Iterator[list[Decoded]]:
    """Batches of decoded samples, in order, decoded in threads ahead of the encoder."""
    with ThreadPoolExecutor(_DECODERS) as pool:
        waiting = deque()
        try:
            for start in range(0, len(samples), batch_size):
                batch = samples[start : start + batch_size]
                waiting.append([pool.submit(_decode_one, one, data, encoder) for one in batch])
                if len(waiting) > _LOOK_AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_one(entry: SampleEntry, data: "ShardBytes", encoder: Encoder) -> Decoded:
    from .sources.images import UndecodableImage, decode

    try:
        picture = decode(data.read(entry.image))
    except UndecodableImage as error:
        return Decoded(entry=entry, reason=error.reason, detail=error.detail)
    return Decoded(
        entry=entry,
        pixels=encoder.preprocess(picture.rgb),
        width=picture.width,
        height=picture.height,
    )


def embed_batch(encoder: Encoder, decoded: Sequence[Decoded]) -> "np.ndarray":
    """Embeddings (b, d) of those that have pixels."""
    import torch

    return encoder.images(torch.stack([one.pixels for one in decoded if one.pixels is not None]))
