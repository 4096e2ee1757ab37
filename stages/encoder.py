"""A frozen CLIP-like model of open_clip: images and texts in, unit rows out, and its identity."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..store import Artifact, ConfigError
from ..store.errors import first_line
from .hub import offline_without_a_network, unknown_model, unknown_tag
from .sources.images.pixels import DecodedImage, decode

if TYPE_CHECKING:
    import torch
    from PIL import Image

_SAMPLED_VALUES = 4096
"""Values of each weight tensor that enter the digest: fine-tuning changes all of them."""


Precision = Literal["fp32", "bf16"]
"""Precision of a network's matrix products; embeddings are float32 either way."""

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
    """Turns an image into the pixels that `images` takes; can be sent to another process."""
    tokenizer: "Callable[..., torch.Tensor]"
    """Turns a list of texts into their tokens (b, context length)."""
    device: str
    identity: Mapping[str, Any]
    """Model, weights digest, preprocessing: a query's encoder must have the same."""
    mean: "torch.Tensor | None" = None
    """Mean of each channel, from 0 to 1, on the device; None where `preprocess` gives floats."""
    std: "torch.Tensor | None" = None
    """Standard deviation of each channel, on the device."""

    @property
    def size(self) -> int:
        """d, the length of an embedding."""
        return int(self.identity["embedding_size"])

    @property
    def at_least(self) -> int | None:
        """Fewest pixels per side that an image may be decoded to; None decodes all of them."""
        if not self.identity.get("scaled_jpeg", False):
            return None
        size = self.identity["preprocess"]["size"]
        return _SCALED_AT_LEAST * max(size if isinstance(size, list) else [size])

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

    def launch(self, pixels: "torch.Tensor") -> Callable[[], np.ndarray]:
        """Starts to embed preprocessed images; the returned function waits for the embeddings.

        A GPU computes, and copies from pinned memory, between the two calls.
        """
        import torch

        with torch.inference_mode():
            with self._precision():
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

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts: float32 (b, d), unit rows."""
        import torch

        with torch.inference_mode():
            with self._precision():
                rows = self.model.encode_text(self.tokenizer(list(texts)).to(self.device))
            return _unit(rows).cpu().numpy()

    def cut_texts(self, texts: Sequence[str]) -> list[str]:
        """Those texts of which the model does not read the end, as they have too many tokens."""
        most = self.tokenizer([""]).shape[1]
        # A token has at least one byte, and two tokens mark the ends.
        long = [text for text in texts if len(text.encode()) + 2 > most]
        if not long:
            return []
        padding, *rows = self.tokenizer(["", *long], context_length=most + 1)
        return [text for text, row in zip(long, rows, strict=True) if row[-1] != padding[-1]]

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


@dataclass(frozen=True)
class _ToBytes:
    """The steps of a preprocessing on images, and then their pixels as bytes."""

    steps: "tuple[Callable[[Image.Image], Image.Image], ...]"

    def __call__(self, image: "Image.Image") -> "torch.Tensor":
        """The pixels (height, width, 3) of an RGB image, uint8."""
        import torch

        for step in self.steps:
            image = step(image)
        return torch.from_numpy(np.array(image))


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
    """Loads a model of open_clip by name and tag, or from local `weights` and `model_config` files.

    With `scaled_jpeg` the encoder's `at_least` allows decoding at a fraction of the size; `exif`
    decides about the orientation of the images that it decodes. Raises ConfigError for an unknown
    model or tag, for weights that cannot be downloaded or do not fit the model, and for a precision
    that the device lacks.
    """
    _require_precision(precision, device)
    with offline_without_a_network():
        import open_clip

        name = model
        try:
            if "model_config" in files:
                open_clip.add_model_config(files["model_config"])
                name = files["model_config"].stem
            is_known = open_clip.get_model_config(name) is not None
        except RecursionError as error:  # JSON that is nested too deeply
            raise ConfigError(f"--model: {name!r} is not a description of a model") from error
        if not is_known and ":" not in name:
            raise ConfigError(unknown_model(model, open_clip.list_models()))
        source = str(files["weights"]) if "weights" in files else pretrained
        if "weights" not in files and ":" not in name:
            tags = open_clip.list_pretrained_tags_by_model(name)
            if pretrained not in tags:
                raise ConfigError(unknown_tag(model, pretrained, tags))
        network, preprocess = _create(open_clip, name, source, device)
        tokenizer = open_clip.get_tokenizer(name)
    network.eval()
    identity = _identity(network, model, pretrained)
    # Recorded only if not the default: older embeddings do not have these keys.
    identity |= {"precision": precision} if precision != "fp32" else {}
    identity |= {"scaled_jpeg": True} if scaled_jpeg else {}
    identity |= {"exif": exif} if exif != "ignore" else {}
    return Encoder(
        model=_fast(network, device),
        tokenizer=tokenizer,
        device=device,
        identity=identity,
        **_split_preprocessing(preprocess, device),
    )


def load_encoder_of(embeddings: Artifact, files: Mapping[str, Path], device: str) -> Encoder:
    """The model that made the embeddings; ConfigError where the one at hand differs."""
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


def _split_preprocessing(preprocess: Any, device: str) -> dict[str, Any]:
    """A preprocessing of open_clip, split where images become floats.

    Bytes need a quarter of the transfer between processes and to a GPU, and a whole batch is turned
    into the same floats at once. A preprocessing with another ending stays whole.
    """
    import torch
    from open_clip.transform import MaybeConvertMode, MaybeToTensor
    from torchvision.transforms import Compose, Normalize

    steps = preprocess.transforms if isinstance(preprocess, Compose) else []
    match steps:
        case [*before, MaybeToTensor(), Normalize() as last]:
            # Decoded images are RGB already.
            kept = tuple(step for step in before if not isinstance(step, MaybeConvertMode))
            mean, std = (torch.tensor(value, device=device) for value in (last.mean, last.std))
            return {
                "preprocess": _ToBytes(kept),
                "mean": mean.view(-1, 1, 1),
                "std": std.view(-1, 1, 1),
            }
    return {"preprocess": preprocess}


def _create(open_clip: Any, name: str, source: str, device: str) -> tuple[Any, Any]:
    from safetensors import SafetensorError

    try:
        network, _, preprocess = open_clip.create_model_and_transforms(
            name, pretrained=source, device=device
        )
    except (
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        AttributeError,
        SafetensorError,
    ) as error:
        if Path(source).is_file():
            raise ConfigError(
                f"the weights in {source} do not fit the model {name}: {first_line(error)}"
            ) from error
        raise ConfigError(
            f"the weights {source!r} of {name} cannot be downloaded ({first_line(error)}): give "
            "local files with --pretrained weights.safetensors (and --model-config model.json), "
            "connect to the network, or use a smaller model that you already have, e.g. "
            "--model ViT-B-32 --pretrained openai"
        ) from error
    return network, preprocess


def _identity(network: Any, model: str, pretrained: str) -> dict[str, Any]:
    import open_clip

    settings = open_clip.get_model_preprocess_cfg(network)
    return {
        "model": model,
        "pretrained": pretrained,
        "weights_digest": _weights_digest(network),
        "embedding_size": _embedding_size(network),
        "preprocess": {name: _plain(value) for name, value in sorted(settings.items())},
        "is_normalised": True,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _embedding_size(network: Any) -> int:
    """d, from the output of the text tower, which is cheaper to run than the image tower."""
    import torch

    length = getattr(network, "context_length", None) or network.text.context_length
    device = next(network.parameters()).device
    with torch.inference_mode():
        row = network.encode_text(torch.zeros(1, length, dtype=torch.long, device=device))
    return int(row.shape[-1])


def _weights_digest(network: Any) -> str:
    """Digest of the names, shapes and first values of all weights, in float32."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        values = tensor.flatten()[:_SAMPLED_VALUES].float().cpu().numpy()
        digest.update(values.tobytes())
    return digest.hexdigest()
