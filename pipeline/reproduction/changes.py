"""The settings that the user changes by --set: checked before any work, and part of run names."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ...store import ConfigError
from ..config import EmbedSettings, Settings
from ..making.overrides import Override, parse_override, read_value
from .recipes import RECIPES

_MODEL = "embed"
_CHANGEABLE = (_MODEL, "views", "train", "spectrum")
"""Tables that decide the clusters; the data and the number of clusters are those of the paper."""

_MODEL_SETTINGS = ("model", "pretrained", "model_config")
"""The settings of `embed` that embeddings from a file have too: the model that made them."""


def read_changes(
    assignments: Sequence[str], names: Sequence[str], *, has_images: bool
) -> tuple[Override, ...]:
    """The last value of each TABLE.KEY=VALUE; ConfigError if both recipes cannot use one.

    `names` are the data sets; `has_images` says whether images are embedded.
    """
    changes: dict[str, Override] = {}
    for assignment in assignments:
        override = parse_override(Settings(), assignment)
        _require_changeable(override, has_images=has_images)
        changes[override.name] = override
    for settings_of in RECIPES.values():
        for name in names:
            change(settings_of(name, 1), tuple(changes.values()))
    return tuple(changes.values())


def _require_changeable(override: Override, *, has_images: bool) -> None:
    if override.key == "seed":
        raise ConfigError(f"--set {override.name}: reproduce sets the seeds; use --seeds")
    if override.table not in _CHANGEABLE:
        raise ConfigError(
            f"--set {override.name}: reproduce takes the data set's images and number of clusters; "
            f"only settings of {', '.join(_CHANGEABLE)} can be changed"
        )
    if override.table == _MODEL and not has_images and override.key not in _MODEL_SETTINGS:
        raise ConfigError(
            f"--set {override.name} has no effect on embeddings from a file: leave it out"
        )


def change(settings: Settings, changes: Sequence[Override]) -> Settings:
    """The settings with the user's changes."""
    for override in changes:
        value = read_value(override.text)
        settings = settings.override(override.table, **{override.key: value})
    return settings


def change_model(settings: Settings, changes: Sequence[Override]) -> Settings:
    """The settings with the user's changes of the model's table."""
    return change(settings, [override for override in changes if override.table == _MODEL])


def name_run(
    data_set: str, embed: EmbedSettings, changes: Sequence[Override], file: Path | None
) -> str:
    """The name of a run of a data set's embeddings.

    With another model, a file of embeddings or changed settings, the name ends in a short digest of
    these, so that no run replaces another.
    """
    usual = asdict(EmbedSettings())
    differs = {f"embed.{key}": value for key, value in asdict(embed).items() if value != usual[key]}
    differs |= {override.name: read_value(override.text) for override in changes}
    differs |= {} if file is None else {"--embeddings": str(file.absolute())}
    if not differs:
        return f"reproduce-{data_set}"
    text = json.dumps(differs, sort_keys=True, default=str)
    return f"reproduce-{data_set}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
