"""A frozen CLIP-like model of open_clip: images and texts in, unit rows out, and what it is."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

import numpy as np

from ..store import Artifact, ConfigError

if TYPE_CHECKING:
    import torch
    from PIL import Image

_SAMPLED_VALUES = 4096
"""Values of each weight tensor that enter its digest: a fine-tuned model differs in all of them."""


Precision = Literal["fp32", "bf16"]
"""What a network's products are computed in; embeddings leave it as float32 either way."""

_SCALED_AT_LEAST = 2
"""How many times the network's own size a JPEG keeps that is decoded at a fraction of its own.

Of photographs of 2000 px this takes 14 ms for 30, and pixels differ by 0.2 grey levels in the mean
and by 1 at the 99th percentile; at 1 it takes 9 ms, and real textures differ by 1.1 and by 7.
"""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model in eval mode on one device; float32 out."""

    model: Any
    preprocess: "Callable[[Image.Image], torch.Tensor]"
    """A picture to its pixels as `images` takes them; it may be sent to another process."""
    tokenizer: "Callable[[Sequence[str]], torch.Tensor]"
    device: str
    identity: Mapping[str, Any]
    """Model, weights digest, preprocessing: what a query must be embedded with too."""
    mean: "torch.Tensor | None" = None
    """Of each channel, between 0 and 1: what `images` takes away from bytes; on the device."""
    std: "torch.Tensor | None" = None
    """Of each channel: what it divides them by then."""

    @property
    def size(self) -> int:
        """d, the length of an embedding."""
        return int(self.identity["embedding_size"])

    @property
    def at_least(self) -> int | None:
        """What pictures are to be decoded with: the fewest pixels a side; None is all of them."""
        if not self.identity.get("scaled_jpeg", False):
            return None
        size = self.identity["preprocess"]["size"]
        return _SCALED_AT_LEAST * max(size if isinstance(size, list) else [size])

    def images(self, pixels: "torch.Tensor") -> np.ndarray:
        """Embeddings of preprocessed pictures (b, ...): float32 (b, d), unit rows."""
        return self.launch(pixels)()

    def launch(self, pixels: "torch.Tensor") -> Callable[[], np.ndarray]:
        """Begins to embed preprocessed pictures; what it returns gives them when they are ready.

        A GPU works in between, and copies in between what lies in pinned memory.
        """
        import torch

        with torch.inference_mode():
            with self._precision():
                rows = self.model.encode_image(self._normalised(pixels))
            rows = _unit(rows)
        if rows.device.type != "cuda":
            found = rows.cpu().numpy()
            return lambda: found
        # A plain copy would wait for all that is launched until it is asked for, too.
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

    def _normalised(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Pictures on the device, as open_clip's own preprocessing ends."""
        import torch

        pixels = pixels.to(self.device, non_blocking=True)
        if pixels.dtype != torch.uint8:
            return pixels
        assert self.mean is not None and self.std is not None
        rows = pixels.flatten(2)  # of a picture; as channels would, three numbers make slow loops
        mean, std = (one.flatten().repeat(pixels.shape[2]) for one in (self.mean, self.std))
        found = torch.empty(rows.shape, device=rows.device)
        # One at a time they stay in a core's cache; a GPU takes all at once.
        for some, out in [(rows, found)] if rows.is_cuda else zip(rows, found, strict=True):
            torch.div(some, 255, out=out).sub_(mean).div_(std)
        # (b, height, width, 3) seen as channels first is what convolutions take the fastest.
        return found.view(pixels.shape).permute(0, 3, 1, 2)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        if self.identity.get("precision", "fp32") == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)


@dataclass(frozen=True)
class _ToBytes:
    """Steps of a preprocessing that make pictures of pictures, and then pixels."""

    steps: "tuple[Callable[[Image.Image], Image.Image], ...]"

    def __call__(self, picture: "Image.Image") -> "torch.Tensor":
        """The pixels (height, width, 3) of an RGB picture, uint8."""
        import torch

        for step in self.steps:
            picture = step(picture)
        return torch.from_numpy(np.array(picture))


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
) -> Encoder:
    """Loads a model of open_clip by name and tag, or from local `weights` and `model_config` files.

    With `scaled_jpeg` pictures are to be decoded as `at_least` says. Raises ConfigError for an
    unknown model or tag, weights that cannot be had or do not fit the model, or a precision that
    the device has not.
    """
    _require_precision(precision, device)
    with _without_a_hub_that_is_not_there():
        import open_clip

        name = model
        if "model_config" in files:
            open_clip.add_model_config(files["model_config"])
            name = files["model_config"].stem
        if open_clip.get_model_config(name) is None and ":" not in name:
            raise ConfigError(_unknown_model(model, open_clip.list_models()))
        source = str(files["weights"]) if "weights" in files else pretrained
        if "weights" not in files and ":" not in name:
            tags = open_clip.list_pretrained_tags_by_model(name)
            if pretrained not in tags:
                raise ConfigError(_unknown_tag(model, pretrained, tags))
        network, preprocess = _create(open_clip, name, source, device)
        tokenizer = open_clip.get_tokenizer(name)
    network.eval()
    identity = _identity(network, model, pretrained)
    # Like the settings, only where they are not the default: older embeddings do not name them.
    identity |= {"precision": precision} if precision != "fp32" else {}
    identity |= {"scaled_jpeg": True} if scaled_jpeg else {}
    return Encoder(
        model=_fast(network, device),
        tokenizer=tokenizer,
        device=device,
        identity=identity,
        **_in_two(preprocess, device),
    )


def load_encoder_of(embeddings: Artifact, files: Mapping[str, Path], device: str) -> Encoder:
    """The model that made the embeddings; ConfigError where it is not exactly that any more."""
    made_by = embeddings.facts["model"]
    encoder = load_encoder(
        made_by["model"],
        made_by["pretrained"],
        files=files,
        device=device,
        precision=made_by.get("precision", "fp32"),
        scaled_jpeg=made_by.get("scaled_jpeg", False),
    )
    for name, expected in made_by.items():
        found = encoder.identity.get(name)
        # Embeddings made elsewhere come with the model's name and their size alone.
        if expected is not None and found != expected:
            raise ConfigError(
                f"the model at hand is not the one that made the embeddings: its {name} is "
                f"{found!r}, theirs is {expected!r}; give the right one with --pretrained (and "
                "--model-config)"
            )
    return encoder


def _require_precision(precision: Precision, device: str) -> None:
    import torch

    if precision == "fp32" or not device.startswith("cuda"):
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"embed.precision = 'bf16' is not for this GPU, {torch.cuda.get_device_name(device)}: "
            "'fp32' is; GPUs from Ampere on have both"
        )


def _fast(network: Any, device: str) -> Any:
    """The network with its convolutions' weights as this device takes them the fastest.

    A MobileNetV2 takes 14 ms an image for 21 on a core; a ViT, with one convolution, is the same.
    The sums are in another order: of a MobileNetV2 1.2 % of the float16 numbers differ, all of them
    by their last bit; of a ViT none.
    """
    import torch

    # Unmeasured on Apple's.
    return network if device == "mps" else network.to(memory_format=torch.channels_last)


def _in_two(preprocess: Any, device: str) -> dict[str, Any]:
    """A preprocessing of open_clip, cut where its pictures become floats.

    Bytes are a quarter of what goes from process to process and to a GPU, and are made floats of in
    one go for a batch: the same floats. A preprocessing that ends in another way is left whole.
    """
    import torch
    from open_clip.transform import MaybeConvertMode, MaybeToTensor
    from torchvision.transforms import Compose, Normalize

    steps = preprocess.transforms if isinstance(preprocess, Compose) else []
    match steps:
        case [*before, MaybeToTensor(), Normalize() as last]:
            # Pictures are RGB when they come.
            kept = tuple(one for one in before if not isinstance(one, MaybeConvertMode))
            mean, std = (torch.tensor(one, device=device) for one in (last.mean, last.std))
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
                f"the weights in {source} do not fit the model {name}: {_first_line(error)}"
            ) from error
        raise ConfigError(
            f"the weights {source!r} of {name} cannot be downloaded ({_first_line(error)}): give "
            "local files with --pretrained weights.safetensors (and --model-config model.json), "
            "connect to the network, or take a smaller model that you have, as --model ViT-B-32 "
            "--pretrained openai"
        ) from error
    return network, preprocess


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _unknown_model(model: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(model, known, n=5, cutoff=0.4)
    return (
        f"--model {model!r} is no model that open_clip knows; near to it are "
        f"{', '.join(near) or 'none'}; for a model of your own give --model-config FILE.json"
    )


def _unknown_tag(model: str, tag: str, known: Sequence[str]) -> str:
    return (
        f"--pretrained {tag!r} is no weights that open_clip has for {model} and no file that is "
        f"there; it has {', '.join(known) or 'none'}, or give a local .safetensors file"
    )


@contextlib.contextmanager
def _without_a_hub_that_is_not_there() -> Iterator[None]:
    """Keeps the hub's client from trying for a minute what a look at the network tells at once."""
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)


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
    """d, by a look at what the text tower gives: cheaper than the picture tower's."""
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
