"""Notes on precision: what bf16 changes on the user's own images, and what it would gain."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ...store import ConfigError
from ...store.counting import agreeing, counted
from ...store.temporary import temporary_folder
from ..sources.images.pixels import UndecodableImage
from ..sources.source import SampleSource
from .decoders import decode_all
from .encoder import Encoder, Precision
from .models.bf16_products import bf16_of_processor, describe_speed
from .models.costs import GFLOPS, family

_IMAGES = 8
"""Images that are embedded twice; with ViT-L-14 that takes about ten seconds of a core."""


def require_bf16(precision: Precision, device: str) -> None:
    """ConfigError for bf16 on a processor that does not multiply it: it would take longer."""
    if precision == "bf16" and device == "cpu" and not bf16_of_processor():
        raise ConfigError(
            "embed.precision = 'bf16' needs a processor with AMX or AVX512-BF16, and this one has "
            "neither: use 'fp32', or --device cuda"
        )


def describe_gain(model: str, encoder: Encoder) -> Iterator[str]:
    """Lines that advise bf16 if this processor would embed a large model faster; else none."""
    is_exact = "precision" not in encoder.identity and encoder.device == "cpu"
    if is_exact and family(model) in GFLOPS and bf16_of_processor():
        yield f"embed: --set embed.precision=bf16 is {describe_speed()} here, and"
        yield "embed: changes embeddings a little; docs/inputs.md says how much"


def describe_difference(encoder: Encoder, sources: Sequence[SampleSource]) -> Iterator[str]:
    """A line on how far the first images' embeddings are from those in float32; else none."""
    if encoder.identity.get("precision", "fp32") == "fp32":
        return
    images = _first_images(sources)
    decoded = decode_all(images, encoder.preprocess, encoder.decode)
    if decoded.pixels is None:
        return
    least = least_cosine(encoder, decoded.pixels)
    count = len(decoded.pixels)
    yield (
        f"embed: in bf16 the first {counted(count, 'image')} {agreeing(count, 'has', 'have')} "
        f"cosines to float32 of {least:.6f} and more"
    )


def least_cosine(encoder: Encoder, pixels: np.ndarray) -> float:
    """The least cosine of embeddings of pixels (b, ...) to those in float32."""
    import torch

    block = torch.from_numpy(pixels)
    coarse = encoder.images(block).astype(np.float64)
    with encoder.in_float32() as exact:
        cosines = (coarse * exact.images(block)).sum(axis=1)
    return min(1.0, float(cosines.min()))


def _first_images(sources: Sequence[SampleSource]) -> list[bytes]:
    """Encoded images of the first local source: a remote one would be downloaded whole."""
    local = (source for source in sources if isinstance(source.path, Path))
    images: list[bytes] = []
    for source in islice(local, 1):
        with temporary_folder() as scratch, source.open(scratch) as opened:
            for entry in opened.samples[:_IMAGES]:
                with contextlib.suppress(UndecodableImage):
                    images.append(entry.read_image())
    return images
