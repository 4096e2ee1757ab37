"""The settings of the recipes that `reproduce` compares."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from ...store import ConfigError
from ..config import Settings, find_config, read_tables
from ..datasets.catalog import find_data_set

DATA_SETS = ("cifar10", "cifar20", "cifar100", "imagenet")
"""The data sets whose settings the paper's public code gives."""

_SIZES = ("hidden", "features", "batch", "epochs", "eta", "shared_heads")
"""Settings that the paper chose for each data set; the shipped config of the set holds them."""

_WARMUP_STEPS: Mapping[str, int | None] = {
    "cifar10": 51,
    "cifar20": 51,
    "cifar100": None,
    "imagenet": 2001,
}
"""Steps of warm-up: one more than the setting of the public code, because its loop takes one more;
None is one epoch."""


def require_recipe(name: str) -> None:
    """ConfigError if the paper has no settings for a data set."""
    if name not in DATA_SETS:
        raise ConfigError(
            f"the paper's settings are known for {', '.join(DATA_SETS)}, not for {name!r}"
        )


def paper(name: str, rows: int) -> Settings:
    """The paper's recipe on a data set, with its number of clusters."""
    base, own = _config("reference"), _config(name)
    sizes = {key: getattr(own.train, key) for key in _SIZES}
    sizes["warmup_steps"] = _warmup_steps(name, rows, own.train.batch)
    spectrum = replace(
        base.spectrum,
        eta=own.train.eta,
        landmarks=own.spectrum.landmarks,
        k_max=own.spectrum.k_max,
    )
    return replace(
        base,
        train=replace(base.train, **sizes),
        spectrum=spectrum,
        assign=replace(base.assign, k=find_data_set(name).classes),
    )


def follow(settings: Settings, name: str, rows: int, changed: Collection[str]) -> Settings:
    """The paper's recipe with changed settings; settings that depend on these follow, unless
    changed too."""
    train, spectrum = settings.train, settings.spectrum
    if "train.batch" in changed and "train.warmup_steps" not in changed:
        train = replace(train, warmup_steps=_warmup_steps(name, rows, train.batch))
    if "train.eta" in changed and "spectrum.eta" not in changed:
        spectrum = replace(spectrum, eta=train.eta)
    return replace(settings, train=train, spectrum=spectrum)


def default(name: str, rows: int) -> Settings:
    """The default settings of cpp-pipe, with the paper's number of clusters."""
    settings = Settings()
    return replace(settings, assign=replace(settings.assign, k=find_data_set(name).classes))


RECIPES: Mapping[str, Callable[[str, int], Settings]] = {"default": default, "paper": paper}
"""The recipes by name: each returns settings for the name of a data set and its number of rows."""

TITLES: Mapping[str, str] = {"default": "cpp-pipe, default", "paper": "cpp-pipe, paper's recipe"}
"""The names of recipes in tables."""


def with_seed(settings: Settings, seed: int) -> Settings:
    """The settings with another seed in each stage that draws at random."""
    return replace(
        settings,
        train=replace(settings.train, seed=seed),
        spectrum=replace(settings.spectrum, seed=seed),
    )


def _warmup_steps(name: str, rows: int, batch: int) -> int:
    steps = _WARMUP_STEPS[name]
    return max(1, rows // batch) if steps is None else steps


def _config(name: str) -> Settings:
    path = find_config(name)
    return Settings.from_tables(read_tables(path), str(path))
