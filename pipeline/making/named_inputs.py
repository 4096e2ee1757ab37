"""What a user names (images, a model, vocabularies) as settings that mean the same anywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...store import ConfigError
from ...store.paths import absolute, expanded, followed


def data_table(
    shards: Sequence[str] | None,
    images: Sequence[str] | None,
    tables: Sequence[str] | None,
    image_column: str | None,
) -> dict[str, Any]:
    """What is named to be embedded, as values of the table `data`.

    What is named replaces everything that was named before, of whatever kind.
    """
    if not (shards or images or tables):
        return {"image_column": image_column}
    return {
        "shards": anchored(shards or []),
        "images": anchored(images or []),
        "tables": anchored(tables or []),
        "image_column": image_column or "",
        "builtin": "",
    }


def model_table(
    model: str | None, pretrained: str | None, model_config: str | None
) -> dict[str, str | None]:
    """A model that is named, as values of the table `embed`; None is what is not named.

    ConfigError for a file of a model that does not exist.
    """
    if model_config is not None and not expanded(model_config).is_file():
        raise ConfigError(f"--model-config: {model_config!r} does not exist")
    if model is None and model_config is not None:
        model = Path(model_config).stem
    elif model is not None and model_config is None:
        # A model that is named replaces one that a file described.
        model_config = ""
    return {
        "model": model,
        "pretrained": anchored_file(pretrained),
        "model_config": anchored_file(model_config),
    }


def vocabulary_setting(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Vocabularies that are named; files by paths that mean the same in every folder."""
    return tuple(str(anchored_file(name)) for name in names) if names else None


def anchored(patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns of shards that mean the same in whatever folder a later command runs."""
    anchored = []
    for pattern in patterns:
        at, path = ("@", pattern[1:]) if pattern.startswith("@") else ("", pattern)
        is_remote = "://" in path
        anchored.append(at + (path if is_remote else absolute(str(expanded(path)))))
    return tuple(anchored)


def anchored_file(name: str | None) -> str | None:
    """What may name a local file, by a path that means the same in every folder."""
    if not name or not expanded(name).is_file():
        return name
    return str(followed(expanded(name)))
