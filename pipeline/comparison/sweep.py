"""A run for each combination of settings: they share the embeddings and every equal step."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from ...stages.contract import Runtime
from ...store import ConfigError, MissingError, Store
from ...store.kinds import EMBEDDINGS
from ...store.slots import split_slot
from ..config import Settings
from ..making.overrides import parse_override, read_values
from ..making.plan import Plan
from ..wording import counted

_SEEDED = ("train", "spectrum", "select_k", "merge")
"""Tables whose seeds change the clusters."""

MOST_RUNS = 1000
"""More are a slip of the keyboard rather than a plan."""

_TAKEN = ("data", "embed")
"""Tables that a sweep cannot vary: all of its runs have the embeddings of the first."""


@dataclass(frozen=True, kw_only=True)
class SweptRun:
    """One of the runs of a sweep."""

    name: str
    settings: Settings


def read_axes(settings: Settings, assignments: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each setting, from TABLE.KEY=VALUE,VALUE; ConfigError for a setting twice."""
    axes: dict[str, list[Any]] = {}
    for assignment in assignments:
        override = parse_override(settings, assignment)
        if override.name in axes:
            raise ConfigError(f"--set {override.name} is given twice: name all its values in one")
        axes[override.name] = read_values(override.text) or [""]
    return axes


def plan_sweep(
    base: str,
    settings: Settings,
    axes: Mapping[str, Sequence[Any]],
    seeds: int | None = None,
    ks: Sequence[int | str] = (),
) -> list[SweptRun]:
    """A run for each combination of values, named after the run `base` and what differs.

    `axes` are the values of each TABLE.KEY; a single one is the same in all runs. `seeds` are from
    0, in all steps; None keeps those of the settings. ConfigError for values that cannot be.
    """
    axes = dict(axes)
    for name in axes:
        parse_override(settings, f"{name}=")  # raises where there is no such table
        if name.partition(".")[0] in _TAKEN:
            raise ConfigError(
                f"{name}: all runs of a sweep have the embeddings of one run, so [data] and "
                "[embed] cannot differ: embed another run, and name both to `cpp-pipe compare`"
            )
    if ks:
        axes["assign.k"] = list(ks)
        settings = settings.override("assign", method="spectral")  # as `assign --k` does
    count = (seeds or 1) * prod(len(values) for values in axes.values())
    if count > MOST_RUNS:
        raise ConfigError(f"{counted(count, 'run')} are more than {MOST_RUNS:,}: give fewer values")
    runs = [
        _swept(base, settings, dict(zip(axes, values, strict=True)), seed, axes)
        for values in product(*axes.values())
        for seed in ([None] if seeds is None else range(seeds))
    ]
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two runs would be called {twice!r}: a value is given twice")
    if base in names:
        raise ConfigError("a single combination is the run itself: give a setting several values")
    return runs


def _swept(
    base: str,
    settings: Settings,
    values: Mapping[str, Any],
    seed: int | None,
    axes: Mapping[str, Sequence[Any]],
) -> SweptRun:
    for name, value in values.items():
        table, _, key = name.partition(".")
        settings = settings.override(table, **{key: value})
    if seed is not None:
        for table in _SEEDED:
            settings = settings.override(table, seed=seed)
    varied = {name: value for name, value in values.items() if len(axes[name]) > 1}
    words = [f"{_short(name, varied)}-{value}" for name, value in varied.items()]
    words += [] if seed is None else [f"seed-{seed}"]
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-") for word in (base, *words)]
    return SweptRun(name="_".join(plain), settings=settings)


def _short(name: str, axes: Mapping[str, Any]) -> str:
    """A setting's key, with its table where two tables have it."""
    key = name.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == key for other in axes) == 1 else name


def make_sweep(
    store: Store,
    base: str,
    runs: Sequence[SweptRun],
    runtime: Runtime,
    say: Callable[[str], None],
) -> list[str]:
    """Makes the clusters of each run, from the embeddings of the run `base`; the names.

    What is equal in two runs is made once: the store finds it. MissingError where `base` has no
    embeddings; ConfigError where a run's name is that of a run of other images.
    """
    record = store.runs.read(base)
    shared = {
        slot: version
        for slot, version in record.versions.items()
        if split_slot(slot)[0] == EMBEDDINGS.name
    }
    if EMBEDDINGS.name not in shared:
        raise MissingError(
            f"run {base!r} of the store {store.root} has no embeddings yet: `cpp-pipe embed` or "
            "`cpp-pipe import` makes them"
        )
    for run in runs:
        _require_free(store, run.name, shared[EMBEDDINGS.name])
    for number, run in enumerate(runs, 1):
        say(f"sweep: {number} of {counted(len(runs), 'run')}, {run.name}")
        store.runs.update(
            run.name,
            settings=run.settings.tables(),
            versions=shared,
            sources=record.sources,
            stamps=record.stamps,
        )
        Plan(store, run.name, run.settings, runtime, say).make("assignments")
    return [run.name for run in runs]


def _require_free(store: Store, name: str, embeddings: str) -> None:
    held = store.runs.read(name).versions.get(EMBEDDINGS.name)
    if held not in (None, embeddings):
        raise ConfigError(
            f"the store {store.root} has a run {name!r} of other images: rename the run that is "
            "swept, or use another store"
        )
