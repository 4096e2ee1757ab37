"""Models of open_clip, which embed images and texts."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ....store import ConfigError
from ....store.errors import first_line
from .deferred_packages import import_architecture
from .hub import offline_without_a_network, unknown_model, unknown_tag
from .loaded_model import LoadedModel, plain, weights_digest
from .preprocessing import split_preprocessing

_FORM = "take a file of open_clip's model_configs as a pattern"


def load_clip_model(
    model: str, pretrained: str, *, files: Mapping[str, Path], device: str
) -> LoadedModel:
    """A model by name and tag, or from local `weights` and `model_config` files.

    Raises ConfigError for an unknown model or tag, and for weights that cannot be downloaded or do
    not fit the model.
    """
    described = files.get("model_config")
    with offline_without_a_network(), _description_errors(described):
        import open_clip

        name = model
        try:
            if described is not None:
                _require_description(described)
                open_clip.add_model_config(described)
                name = described.stem
            config = open_clip.get_model_config(name)
        except RecursionError as error:  # JSON that is nested too deeply
            raise ConfigError(f"--model: {name!r} is not a description of a model") from error
        if config is None and ":" not in name:
            raise ConfigError(unknown_model(model, open_clip.list_models()))
        source = str(files["weights"]) if "weights" in files else pretrained
        if "weights" not in files and ":" not in name:
            tags = open_clip.list_pretrained_tags_by_model(name)
            if pretrained not in tags:
                raise ConfigError(unknown_tag(model, pretrained, tags))
        architecture = (config or {}).get("vision_cfg", {}).get("timm_model_name")
        if architecture is not None:
            import_architecture(architecture)
        network, preprocess = _create(open_clip, name, source, device)
        network.eval()
        return LoadedModel(
            network=network,
            preprocess=_split(preprocess, device),
            tokenizer=_Tokenizer(name),
            identity=_identity(network, model, pretrained),
        )


def _require_description(path: Path) -> None:
    """ConfigError unless a file holds what open_clip takes for a model.

    open_clip reads all files again whenever one is added, and would end at a damaged one each time.
    """
    described = json.loads(path.read_bytes())
    if not isinstance(described, dict) or not isinstance(described.get("embed_dim"), int):
        raise ConfigError(f"--model-config {path} has no number `embed_dim`: {_FORM}")
    for tower in ("vision_cfg", "text_cfg"):
        if not isinstance(described.get(tower), dict):
            raise ConfigError(f"--model-config {path} has no object `{tower}`: {_FORM}")


@contextlib.contextmanager
def _description_errors(path: Path | None) -> Iterator[None]:
    """Turns what the user's description of a model makes open_clip raise into a ConfigError."""
    try:
        yield
    except ConfigError:
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        if path is None:
            raise
        raise ConfigError(
            f"--model-config {path} describes no model that open_clip can make "
            f"({first_line(error)}): {_FORM}"
        ) from error


class _Tokenizer:
    """The tokenizer of a model, created for the first text: a query by image needs none."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, texts: Sequence[str], **options: Any) -> Any:
        """The tokens of texts (b, context length)."""
        return self._tokenizer(texts, **options)

    @cached_property
    def _tokenizer(self) -> Callable[..., Any]:
        with offline_without_a_network():
            import open_clip

            return open_clip.get_tokenizer(self._name)


def _split(preprocess: Any, device: str) -> dict[str, Any]:
    from open_clip.transform import MaybeConvertMode, MaybeToTensor

    return split_preprocessing(preprocess, device, MaybeToTensor, (MaybeConvertMode,))


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
            f"the weights {source!r} of {name} cannot be downloaded ({first_line(error)}): connect "
            f"to the network, give the file of the weights of {name} with --pretrained "
            "weights.safetensors, or embed with another model, such as a smaller one whose weights "
            "you have"
        ) from error
    return network, preprocess


def _identity(network: Any, model: str, pretrained: str) -> dict[str, Any]:
    import open_clip

    settings = open_clip.get_model_preprocess_cfg(network)
    return {
        "model": model,
        "pretrained": pretrained,
        "weights_digest": weights_digest(network),
        "embedding_size": _embedding_size(network),
        "preprocess": {name: plain(value) for name, value in sorted(settings.items())},
        "is_normalised": True,
    }


def _embedding_size(network: Any) -> int:
    """d, from the output of the text tower, which is cheaper to run than the image tower."""
    import torch

    length = getattr(network, "context_length", None) or network.text.context_length
    device = next(network.parameters()).device
    with torch.inference_mode():
        row = network.encode_text(torch.zeros(1, length, dtype=torch.long, device=device))
    return int(row.shape[-1])
