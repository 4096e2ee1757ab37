"""Models of timm as backbones: they embed images alone, each with its own preprocessing."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....store import ConfigError
from ....store.errors import first_line
from .deferred_packages import import_architecture
from .hub import offline_without_a_network, unknown_model, unknown_tag
from .loaded_model import ONLY_IMAGES, LoadedModel, plain, weights_digest
from .preprocessing import split_preprocessing

if TYPE_CHECKING:
    import torch

OF_TIMM = "timm"
"""The value of `embed.pretrained` if timm chooses the weights: its tags are part of a name."""


class _ImageTower:
    """A network of timm with the methods that `Encoder` calls."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def encode_image(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Embeddings (b, d): the inputs of timm's classifiers."""
        return self.network(pixels)

    def to(self, **options: Any) -> "_ImageTower":
        """The same network in another memory format."""
        return _ImageTower(self.network.to(**options))


def load_timm_model(
    model: str, pretrained: str, *, files: Mapping[str, Path], device: str
) -> LoadedModel:
    """A model `timm/NAME` or `timm/NAME.TAG` with timm's weights, or with those of a local file.

    Raises ConfigError for an unknown name or tag, for weights that cannot be downloaded or do not
    fit the model, and for a model that does not give one vector for an RGB image.
    """
    if "model_config" in files:
        raise ConfigError(
            f"--model-config describes models of open_clip, not {model}: leave it out"
        )
    name = model.removeprefix(ONLY_IMAGES)
    with offline_without_a_network():
        import timm
        from timm.data.config import resolve_model_data_config
        from timm.data.transforms import MaybeToTensor
        from timm.data.transforms_factory import create_transform

        if ":" in name:
            import_architecture("")  # of any module: the hub says which
        else:
            _require_known(timm, model, name, has_file="weights" in files)
        network = _create(timm, name, files.get("weights"))
        network = network.eval().requires_grad_(False).to(device)
        settings = resolve_model_data_config(network)
        preprocess = create_transform(**settings, is_training=False)
    return LoadedModel(
        network=_ImageTower(network),
        preprocess=split_preprocessing(preprocess, device, MaybeToTensor),
        tokenizer=None,
        identity={
            "model": model,
            "pretrained": pretrained,
            "weights_digest": weights_digest(network),
            "embedding_size": _embedding_size(network, model, settings["input_size"], device),
            "preprocess": {
                "size": list(settings["input_size"][1:]),
                **{
                    key: plain(value)
                    for key, value in sorted(settings.items())
                    if key != "input_size"
                },
            },
            "is_normalised": True,
        },
    )


def _require_known(timm: Any, model: str, name: str, *, has_file: bool) -> None:
    architecture, _, tag = name.partition(".")
    import_architecture(architecture)
    if not timm.is_model(architecture):
        known = [f"{ONLY_IMAGES}{other}" for other in timm.list_models()]
        raise ConfigError(unknown_model(model, known, library="timm"))
    names = timm.list_pretrained(f"{architecture}.*")
    tags = [other.partition(".")[2] for other in names]
    if tag and tag not in tags:
        raise ConfigError(unknown_tag(f"{ONLY_IMAGES}{architecture}", tag, tags, library="timm"))
    if not tags and not has_file:
        raise ConfigError(
            f"timm has no weights for {model}: give a local file with --pretrained FILE.safetensors"
        )


def _create(timm: Any, name: str, weights: Path | None) -> Any:
    """The network without a classifier."""
    from safetensors import SafetensorError

    try:
        if weights is None:
            return timm.create_model(name, pretrained=True, num_classes=0)
        # With as many classes as the file has, timm requires that all weights are there.
        classes = _count_classes(timm.get_pretrained_cfg(name), weights)
        overlay = {"file": str(weights), "num_classes": classes, "label_offset": 0}
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes
        )
        network.reset_classifier(0)
        return network
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        if weights is not None:
            raise ConfigError(
                f"the weights in {weights} do not fit the model timm/{name}: {first_line(error)}"
            ) from error
        raise ConfigError(
            f"the weights of timm/{name} cannot be downloaded ({first_line(error)}): give a local "
            "file with --pretrained FILE.safetensors, or connect to the network"
        ) from error


def _count_classes(settings: Any, weights: Path) -> int:
    """The number of classes in a file of weights; 0 if it has no classifier."""
    from safetensors import safe_open

    names = (settings and settings.classifier) or ()
    names = (names,) if isinstance(names, str) else names
    with safe_open(str(weights), framework="pt") as file:
        keys = set(file.keys())
        for name in names:
            if f"{name}.weight" in keys:
                return int(file.get_slice(f"{name}.weight").get_shape()[0])
    return 0


def _embedding_size(network: Any, model: str, size: tuple[int, int, int], device: str) -> int:
    """d, from the output for an empty image."""
    import torch

    if size[0] != 3:
        raise ConfigError(f"{model} takes images of {size[0]} channels: use a model for RGB images")
    with torch.inference_mode():
        row = network(torch.zeros(1, *size, device=device))
    if not isinstance(row, torch.Tensor) or row.ndim != 2:
        raise ConfigError(f"{model} does not give one vector for an image: use another model")
    return int(row.shape[1])
