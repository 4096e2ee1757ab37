"""Local files that settings name: found before any work, and known to versions by their digests."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..stages.contract import Source
from ..stages.sources.shards import Shard, expand
from ..store import ConfigError, ShardError
from ..store.digest import digest_file
from .config import CONFIGS, SHIPPED, CaptionSettings, Data, EmbedSettings

VOCABULARIES = ("imagenet", "coco")
"""Vocabularies that libraries carry."""


def shards(
    data: Data, store: Path, say: Callable[[str], None], *, allow_missing: bool = False
) -> dict[str, Source]:
    """The shards that the settings name, by the part that each becomes; says what was found.

    ShardError when some that are spelt out are missing, unless that is allowed.
    """
    patterns = list(data.shards)
    if data.builtin and not patterns:
        from ..stages.sources.digits import write_digit_shards

        patterns = [str(path) for path in write_digit_shards(store / "shards" / data.builtin)]
    found = expand(patterns)
    for line in found.describe().splitlines():
        say(line)
    if found.missing and not allow_missing:
        raise ShardError(
            f"{found.describe().splitlines()[0]}: put them in their place, or go on without them "
            "with --allow-partial"
        )
    named: dict[str, Shard] = {}
    for path in found.found:
        shard = Shard.of(path)
        first = named.setdefault(shard.part_name, shard)
        if first is not shard:
            say(f"{path} is a copy of {first.path}: read once")
    return dict(named)


def embed_fields(settings: EmbedSettings) -> tuple[dict[str, Any], dict[str, Path]]:
    """The fields of `Embed` that settings give, and where the model's local files lie.

    Raises ConfigError for a file that is not there or is no safetensors.
    """
    weights, model_config = _model_files(settings)
    fields: dict[str, Any] = {"model": settings.model, "pretrained": settings.pretrained}
    files: dict[str, Path] = {}
    if weights is not None:
        fields["pretrained"] = weights.name
        fields["weights_sha256"] = digest_file(weights)
        files["weights"] = weights
    if model_config is not None:
        fields["model"] = model_config.stem
        fields["model_config_sha256"] = digest_file(model_config)
        files["model_config"] = model_config
    return fields, files


def _model_files(settings: EmbedSettings) -> tuple[Path | None, Path | None]:
    if settings.pretrained == SHIPPED:
        weights = CONFIGS / f"{settings.model}.safetensors"
        if not weights.is_file():
            known = ", ".join(sorted(one.stem for one in CONFIGS.glob("*.safetensors")))
            raise ConfigError(f"no weights of {settings.model!r} are shipped, only of {known}")
        return weights, CONFIGS / f"{settings.model}.json"
    weights = None
    if settings.pretrained.endswith((".safetensors", ".pt", ".pth", ".bin", ".ckpt")):
        weights = _existing(settings.pretrained, "--pretrained")
        if weights.suffix != ".safetensors":
            raise ConfigError(
                f"--pretrained {weights} is not .safetensors: other files of weights can run code "
                "when they are opened; load it with torch where you trust it and write it again "
                "with safetensors.torch.save_file"
            )
    model_config = None
    if settings.model_config:
        model_config = _existing(settings.model_config, "--model-config")
    return weights, model_config


def caption_fields(settings: CaptionSettings) -> tuple[dict[str, Any], dict[str, Path]]:
    """The fields of `Caption` that settings give, and where the vocabulary's file lies."""
    name = settings.vocabulary
    fields = {"vocabulary": name, "templates": settings.templates, "top": settings.top}
    if name in VOCABULARIES:
        return fields, {}
    path = CONFIGS / name
    if not (path.is_file() and path.suffix == ".txt" and Path(name).name == name):
        path = _existing(name, f"--vocabulary, which is {', '.join(VOCABULARIES)} or a file: ")
    digest = digest_file(path)
    return {**fields, "vocabulary": path.name, "vocabulary_sha256": digest}, {"vocabulary": path}


def _existing(name: str, flag: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"{flag} {name!r} is no file that is there")
    return path.resolve()


def model_files(settings: EmbedSettings) -> Mapping[str, Path]:
    """Where the local files of a run's model lie, without reading them."""
    weights, model_config = _model_files(settings)
    found = {"weights": weights, "model_config": model_config}
    return {name: path for name, path in found.items() if path is not None}
