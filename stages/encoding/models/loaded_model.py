"""A model as a library loads it, and the digest of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ....store import ConfigError

ONLY_IMAGES = "timm/"
"""Prefix of the names of models that embed images alone: those of timm."""

_SAMPLED_VALUES = 4096
"""Values of each weight tensor that enter the digest: fine-tuning changes all of them."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network in eval mode, the preprocessing of its inputs, and its identity."""

    network: Any
    """Has `encode_image`, and `encode_text` if there is a tokenizer."""
    preprocess: Mapping[str, Any]
    """The fields of `Encoder` that turn an image of Pillow into the network's input, by name."""
    tokenizer: Callable[..., Any] | None
    """None if the model embeds images alone."""
    identity: Mapping[str, Any]


def image_tower(network: Any) -> Any:
    """The part of a loaded network that embeds images: of open_clip's, or the whole of timm's."""
    return network.visual if hasattr(network, "visual") else network.network


def has_texts(model: str) -> bool:
    """Whether the model of this name also embeds texts."""
    return not model.startswith(ONLY_IMAGES)


def require_texts(model: str) -> None:
    """ConfigError for a model that embeds images alone."""
    if not has_texts(model):
        raise ConfigError(
            f"{model} embeds images and no texts: embed the same images with a model that embeds "
            "both, such as ViT-B-32, in another --run; search that one by words, and caption this "
            "one with --beside RUN"
        )


def plain(value: Any) -> Any:
    """A setting of a library as a JSON value."""
    return list(value) if isinstance(value, tuple) else value


def weights_digest(network: Any) -> str:
    """Digest of the names, shapes and first values of all weights, in float32."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        values = tensor.flatten()[:_SAMPLED_VALUES].float().cpu().numpy()
        digest.update(values.tobytes())
    return digest.hexdigest()
