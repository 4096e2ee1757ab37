"""A frozen CLIP-like model of open_clip: images and texts in, unit rows out, and what it is."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from ..store import Artifact, ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

_SAMPLED_VALUES = 4096
"""Values of each weight tensor that enter its digest: a fine-tuned model differs in all of them."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model in eval mode on one device; float32 in and out."""

    model: Any
    preprocess: "Callable[[Image.Image], torch.Tensor]"
    """A picture to a (3, height, width) tensor."""
    tokenizer: "Callable[[Sequence[str]], torch.Tensor]"
    device: str
    identity: Mapping[str, Any]
    """Model, weights digest, preprocessing: what a query must be embedded with too."""

    @property
    def size(self) -> int:
        """d, the length of an embedding."""
        return int(self.identity["embedding_size"])

    def images(self, pixels: "torch.Tensor") -> "np.ndarray":
        """Embeddings of preprocessed pictures (b, 3, height, width): float32 (b, d), unit rows."""
        import torch

        with torch.inference_mode():
            return _unit(self.model.encode_image(pixels.to(self.device)))

    def texts(self, texts: Sequence[str]) -> "np.ndarray":
        """Embeddings of texts: float32 (b, d), unit rows."""
        import torch

        with torch.inference_mode():
            return _unit(self.model.encode_text(self.tokenizer(list(texts)).to(self.device)))


def _unit(rows: "torch.Tensor") -> "np.ndarray":
    import torch.nn.functional as F

    return F.normalize(rows.float(), dim=-1).cpu().numpy()


def load_encoder(
    model: str,
    pretrained: str,
    *,
    files: Mapping[str, Path],
    device: str,
) -> Encoder:
    """Loads a model of open_clip by name and tag, or from local `weights` and `model_config` files.

    Raises ConfigError for an unknown model or tag, weights that cannot be had, or weights that do
    not fit the model.
    """
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
    return Encoder(
        model=network,
        preprocess=preprocess,
        tokenizer=tokenizer,
        device=device,
        identity=_identity(network, model, pretrained),
    )


def load_encoder_of(embeddings: Artifact, files: Mapping[str, Path], device: str) -> Encoder:
    """The model that made the embeddings; ConfigError where it is not exactly that any more."""
    made_by = embeddings.facts["model"]
    encoder = load_encoder(made_by["model"], made_by["pretrained"], files=files, device=device)
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


def _create(open_clip: Any, name: str, source: str, device: str) -> tuple[Any, Any]:
    try:
        network, _, preprocess = open_clip.create_model_and_transforms(
            name, pretrained=source, device=device
        )
    except (OSError, RuntimeError, ValueError, KeyError, AttributeError) as error:
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
