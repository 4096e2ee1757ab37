"""Turns the images, models and vocabularies that users name into settings with absolute paths."""

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
    """Named inputs as values of the settings table `data`.

    They replace all inputs that were named before, of any kind.
    """
    if not (shards or images or tables):
        return {"image_column": image_column}
    return {
        "shards": absolute_patterns(shards or []),
        "images": absolute_patterns(images or []),
        "tables": absolute_patterns(tables or []),
        "image_column": image_column or "",
        "builtin": "",
    }


def model_table(
    model: str | None, pretrained: str | None, model_config: str | None
) -> dict[str, str | None]:
    """A named model as values of the settings table `embed`; None keeps a value.

    ConfigError if `model_config` does not exist.
    """
    if model_config is not None and not expanded(model_config).is_file():
        raise ConfigError(f"--model-config: {model_config!r} does not exist")
    if model is None and model_config is not None:
        model = Path(model_config).stem
    elif model is not None and model_config is None:
        model_config = ""  # a named model replaces one that a file described
    return {
        "model": model,
        "pretrained": absolute_file(pretrained),
        "model_config": absolute_file(model_config),
    }


def vocabulary_setting(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Named vocabularies, files by their absolute paths; None if none is named."""
    return tuple(str(absolute_file(name)) for name in names) if names else None


def absolute_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns with absolute paths, so that later commands may run in any folder."""
    results = []
    for pattern in patterns:
        prefix, path = ("@", pattern[1:]) if pattern.startswith("@") else ("", pattern)
        is_remote = "://" in path
        results.append(prefix + (path if is_remote else absolute(str(expanded(path)))))
    return tuple(results)


def absolute_file(name: str | None) -> str | None:
    """The absolute path of a local file; a name that is no local file stays as it is."""
    if not name or not expanded(name).is_file():
        return name
    return str(followed(expanded(name)))
