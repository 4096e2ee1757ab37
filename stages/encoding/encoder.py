"""A frozen model of open_clip or timm: images and texts in, unit rows out, and its identity."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...store import Artifact, ConfigError
from ..sources.images.pixels import DecodedImage, decode
from .models.bf16_products import (
    bf16_of_processor,
    multiply_in_bf16,
    multiplying_in_float32,
)
from .models.clip_model import load_clip_model
from .models.loaded_model import has_texts, image_tower, require_texts
from .models.preprocessing import Bounded
from .models.timm_model import load_timm_model

if TYPE_CHECKING:
    import torch
    from PIL import Image

Precision = Literal["fp32", "bf16"]
"""Precision of a network's matrix products; embeddings are float32 either way.

On a CPU the products of transformers and the values between them within a block are bf16, and
values passed from block to block are float32. Other networks, and texts, are computed under
autocast, as on a GPU.
"""

Exif = Literal["ignore", "apply"]
"""Whether images are turned as their EXIF orientation says; CLIP was trained without it."""

_SCALED_AT_LEAST = 2
"""A JPEG decoded at a fraction of its size keeps at least this many times the network's input size.

For photographs of 2000 px decoding takes 14 ms instead of 30, and pixels differ by 0.2 grey levels
on average and by 1 at the 99th percentile. With a factor of 1 it takes 9 ms, and real textures
differ by 1.1 and by 7.
"""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model in eval mode on one device; float32 out."""

    model: Any
    preprocess: "Callable[[Image.Image], torch.Tensor]"
    """Turns an image into the pixels that `images` takes; can be sent to another process.

    UndecodableImage for an image that is too thin, see `Bounded`.
    """
    tokenizer: "Callable[..., torch.Tensor] | None"
    """Turns a list of texts into their tokens (b, context length); None if it embeds no texts."""
    device: str
    identity: Mapping[str, Any]
    """Model, weights digest, preprocessing: a query's encoder must have the same."""
    mean: "torch.Tensor | None" = None
    """Mean of each channel, from 0 to 1, on the device; None if `preprocess` gives floats."""
    std: "torch.Tensor | None" = None
    """Standard deviation of each channel, on the device."""
    multiplies_in_bf16: bool = False
    """Whether the image tower multiplies in bf16 by itself, so that autocast has nothing to do."""

    @property
    def size(self) -> int:
        """d, the length of an embedding."""
        return int(self.identity["embedding_size"])

    @property
    def at_least(self) -> int | None:
        """Fewest pixels per side that an image may be decoded to; None decodes all of them."""
        if not self.identity.get("scaled_jpeg", False):
            return None
        return _SCALED_AT_LEAST * _input_size(self.identity)

    @property
    def is_upright(self) -> bool:
        """Whether images are turned as their EXIF orientation says."""
        return self.identity.get("exif") == "apply"

    @property
    def decode(self) -> Callable[[bytes], DecodedImage]:
        """Decodes an image for `preprocess`; can be sent to another process."""
        return functools.partial(decode, at_least=self.at_least, upright=self.is_upright)

    def images(self, pixels: "torch.Tensor") -> np.ndarray:
        """Embeddings of preprocessed images (b, ...): float32 (b, d), unit rows."""
        return self.launch(pixels)()

    def require_vectors(self) -> None:
        """ConfigError if an image of noise has no finite vector: then no image has one."""
        from PIL import Image

        noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        row = self.images(self.preprocess(Image.fromarray(noise))[None])
        if np.isfinite(row).all():
            return
        is_narrow = self.identity.get("precision", "fp32") != "fp32"
        raise ConfigError(
            f"the model {self.identity['model']} gives vectors that are not finite: its weights "
            f"({self.identity['pretrained']}) are probably damaged; get them again, or choose "
            "others with --model and --pretrained"
            + (", or compute with --set embed.precision=fp32" if is_narrow else "")
        )

    def launch(self, pixels: "torch.Tensor") -> Callable[[], np.ndarray]:
        """Starts to embed preprocessed images; the returned function waits for the embeddings.

        A GPU computes, and copies from pinned memory, between the two calls.
        """
        import torch

        with torch.inference_mode():
            with contextlib.nullcontext() if self.multiplies_in_bf16 else self._precision():
                rows = self.model.encode_image(self._normalised(pixels))
            rows = _unit(rows)
        if rows.device.type != "cuda":
            embeddings = rows.cpu().numpy()
            return lambda: embeddings
        # A copy at the time of waiting would also wait for all work launched since.
        host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        host.copy_(rows, non_blocking=True)
        copied = torch.cuda.current_stream(rows.device).record_event()

        def wait() -> np.ndarray:
            copied.synchronize()
            return host.numpy()

        return wait

    @contextlib.contextmanager
    def in_float32(self) -> "Iterator[Encoder]":
        """The same model in float32 for the block, in which nothing else may use this one."""
        identity = {name: value for name, value in self.identity.items() if name != "precision"}
        with multiplying_in_float32(image_tower(self.model)):
            yield replace(self, identity=identity, multiplies_in_bf16=False)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts: float32 (b, d), unit rows; ConfigError if it embeds images alone."""
        import torch

        tokens = self._tokenizer()(list(texts)).to(self.device)
        with torch.inference_mode():
            with self._precision():
                rows = self.model.encode_text(tokens)
            return _unit(rows).cpu().numpy()

    def cut_texts(self, texts: Sequence[str]) -> list[str]:
        """The texts that have too many tokens, so that the model does not read their ends."""
        tokenizer = self._tokenizer()
        most = tokenizer([""]).shape[1]
        # A token has at least one byte, and two tokens mark the ends.
        long = [text for text in texts if len(text.encode()) + 2 > most]
        if not long:
            return []
        padding, *rows = tokenizer(["", *long], context_length=most + 1)
        return [text for text, row in zip(long, rows, strict=True) if row[-1] != padding[-1]]

    def _tokenizer(self) -> "Callable[..., torch.Tensor]":
        require_texts(str(self.identity["model"]))
        assert self.tokenizer is not None
        return self.tokenizer

    def _normalised(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Pixels on the device, normalised as open_clip's preprocessing does."""
        import torch

        pixels = pixels.to(self.device, non_blocking=True)
        if pixels.dtype != torch.uint8:
            return pixels
        assert self.mean is not None and self.std is not None
        rows = pixels.flatten(2)  # rows of an image; loops over its three channels would be slow
        mean, std = (value.flatten().repeat(pixels.shape[2]) for value in (self.mean, self.std))
        normalised = torch.empty(rows.shape, device=rows.device)
        # One image at a time fits a core's cache; a GPU takes the whole batch.
        pairs = [(rows, normalised)] if rows.is_cuda else zip(rows, normalised, strict=True)
        for image, out in pairs:
            torch.div(image, 255, out=out).sub_(mean).div_(std)
        # (b, height, width, 3) viewed as channels first is the fastest layout for convolutions.
        return normalised.view(pixels.shape).permute(0, 3, 1, 2)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        if self.identity.get("precision", "fp32") == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)


def _input_size(identity: Mapping[str, Any]) -> int:
    """Pixels of the longer side of a network's input."""
    size = identity["preprocess"]["size"]
    return max(size if isinstance(size, list) else [size])


def _unit(rows: "torch.Tensor") -> "torch.Tensor":
    import torch.nn.functional as F

    return F.normalize(rows.float(), dim=-1)


def load_encoder(
    model: str,
    pretrained: str,
    *,
    files: Mapping[str, Path],
    device: str,
    precision: Precision = "fp32",
    scaled_jpeg: bool = False,
    exif: Exif = "ignore",
) -> Encoder:
    """Loads a model of open_clip or timm by name and tag, or from local files.

    With `scaled_jpeg` the encoder's `at_least` allows decoding at a fraction of the size; `exif`
    decides about the orientation of the images that it decodes. Raises ConfigError for an unknown
    model or tag, for weights that cannot be downloaded or do not fit the model, and for a precision
    that a GPU lacks.
    """
    _require_precision(precision, device)
    load = load_clip_model if has_texts(model) else load_timm_model
    loaded = load(model, pretrained, files=files, device=device)
    # Recorded only if not the default: older embeddings do not have these keys.
    identity = dict(loaded.identity)
    identity |= {"precision": precision} if precision != "fp32" else {}
    identity |= {"scaled_jpeg": True} if scaled_jpeg else {}
    identity |= {"exif": exif} if exif != "ignore" else {}
    bounded = Bounded(steps=loaded.preprocess["preprocess"], size=_input_size(identity))
    network = _fast(loaded.network, device)
    multiplies = precision == "bf16" and device == "cpu" and bool(bf16_of_processor())
    return Encoder(
        model=network,
        multiplies_in_bf16=multiplies and multiply_in_bf16(image_tower(network)),
        tokenizer=loaded.tokenizer,
        device=device,
        identity=identity,
        **{**loaded.preprocess, "preprocess": bounded},
    )


def load_encoder_of(embeddings: Artifact, files: Mapping[str, Path], device: str) -> Encoder:
    """The model that made the embeddings; ConfigError if the loaded one differs."""
    made_by = embeddings.facts["model"]
    encoder = load_encoder(
        made_by["model"],
        made_by["pretrained"],
        files=files,
        device=device,
        precision=made_by.get("precision", "fp32"),
        scaled_jpeg=made_by.get("scaled_jpeg", False),
        exif=made_by.get("exif", "ignore"),
    )
    for name, expected in made_by.items():
        actual = encoder.identity.get(name)
        # Imported embeddings only have the model's name and their size.
        if expected is not None and actual != expected:
            raise ConfigError(
                f"this model did not make the embeddings: its {name} is {actual!r}, theirs is "
                f"{expected!r}; give the right model with --pretrained (and --model-config)"
            )
    return encoder


def _require_precision(precision: Precision, device: str) -> None:
    import torch

    if precision == "fp32" or not device.startswith("cuda"):
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"embed.precision = 'bf16' needs a GPU from Ampere on, got "
            f"{torch.cuda.get_device_name(device)}: use 'fp32'"
        )


def _fast(network: Any, device: str) -> Any:
    """The network with its weights in the memory format that is fastest for convolutions.

    On a core a MobileNetV2 takes 14 ms instead of 21 per image; a ViT, with one convolution, takes
    as long as before. Sums have another order: 1.2 % of a MobileNetV2's float16 numbers differ, all
    in their last bit, and none of a ViT's.
    """
    import torch

    # Not measured on Apple's devices.
    return network if device == "mps" else network.to(memory_format=torch.channels_last)
