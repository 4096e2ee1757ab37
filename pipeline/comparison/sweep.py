"""Sweeps: a run for each combination of settings; all share the embeddings and equal steps."""

import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from ...stages.contract import Runtime
from ...store import ConfigError, MissingError, Store
from ...store.kinds import EMBEDDINGS
from ...store.slots import split_slot
from ..config import Settings, settings_of, to_plain
from ..making.overrides import parse_override, read_values
from ..making.plan import Plan
from ..making.slots import choose_stage
from ..wording import counted
from .partition import SEED
from .run_comparison import check_images

_SEEDED = ("train", "spectrum", "select_k", "merge")
"""Tables whose seeds change the clusters."""

MOST_RUNS = 1000
"""Most runs of a sweep: more are a typing error."""

_SHARED_TABLES = ("data", "embed")
"""Tables that a sweep cannot vary: all of its runs have the embeddings of the first."""

_INDEPENDENT_TABLES = ("caption", "index")
"""Tables that clusters do not depend on: a run keeps what it was given later."""


@dataclass(frozen=True, kw_only=True)
class SweptRun:
    """One of the runs of a sweep."""

    name: str
    settings: Settings
    tables: tuple[str, ...] = ()
    """The tables whose values are in its name."""


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
    axes: Mapping[str, Any],
    seeds: int | None = None,
    ks: Any = (),
) -> list[SweptRun]:
    """A run for each combination of values, named after the run `base` and these values.

    `axes` are the values of each TABLE.KEY, one or several. `seeds` are from 0, in all steps; None
    keeps those of the settings. ConfigError for values that cannot be.
    """
    if not isinstance(axes, Mapping):
        raise ConfigError(
            f"settings must be values by TABLE.KEY, such as {{'train.eta': [0.1, 0.2]}}, got "
            f"{reprlib.repr(axes)}"
        )
    named = {name: _values(values) for name, values in axes.items()}
    seeds = to_plain(seeds)
    for name, values in named.items():
        if not values or any(value is None for value in values):
            raise ConfigError(f"{name} has no value: name one or several")
        table, _, key = str(name).partition(".")
        if table not in settings.tables() or not key:
            raise ConfigError(
                f"{name!r} is no setting: name it TABLE.KEY, such as train.features; the tables "
                f"are {', '.join(settings.tables())}"
            )
        if table in _SHARED_TABLES:
            raise ConfigError(
                f"{name}: all runs of a sweep have the embeddings of one run, so [data] and "
                "[embed] cannot differ: embed another run, and name both to `cpp-pipe compare`"
            )
    if ks := _values(() if ks is None else ks):
        if "assign.k" in named:
            raise ConfigError("assign.k and --k both name numbers of clusters: give one of them")
        named["assign.k"] = ks
        settings = settings.override("assign", method="spectral")  # as `assign --k` does
    _check_seeds(seeds, named)
    if not named and seeds is None:
        raise ConfigError("nothing to vary: name values of settings, numbers of clusters or seeds")
    count = (seeds or 1) * prod(len(values) for values in named.values())
    if count > MOST_RUNS:
        raise ConfigError(f"{counted(count, 'run')} are more than {MOST_RUNS:,}: give fewer values")
    runs = [
        _swept(base, settings, dict(zip(named, values, strict=True)), seed)
        for values in product(*named.values())
        for seed in ([None] if seeds is None else range(seeds))
    ]
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two runs would be called {twice!r}: a value is given twice")
    return runs


def _values(given: Any) -> list[Any]:
    """The values of a setting that a Python caller gives, one or several."""
    given = to_plain(given)
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def _check_seeds(seeds: int | None, named: Mapping[str, Sequence[Any]]) -> None:
    if seeds is None:
        return
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ConfigError(f"seeds must be a whole number, at least 1, got {seeds!r}")
    both = next((name for name in named if name in {f"{table}.seed" for table in _SEEDED}), None)
    if both is not None:
        raise ConfigError(f"{both} and --seeds both name seeds, --seeds of all steps: give one")


def _swept(base: str, settings: Settings, values: Mapping[str, Any], seed: int | None) -> SweptRun:
    for name, value in values.items():
        table, _, key = name.partition(".")
        settings = settings.override(table, **{key: value})
    if seed is not None:
        for table in _SEEDED:
            settings = settings.override(table, seed=seed)
    words = [_word(_short(name, values), value) for name, value in values.items()]
    words += [] if seed is None else [f"seed-{seed}"]
    return SweptRun(
        name="_".join((base, *words)),
        settings=settings,
        tables=tuple(dict.fromkeys(name.partition(".")[0] for name in values)),
    )


def _word(key: str, value: Any) -> str:
    """A setting and its value, in the letters that names of runs may have.

    Other letters are replaced, so a digest tells such values apart.
    """
    text = f"{key}-{to_plain(value)}"
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
    return word if text.isascii() else f"{word}-{sha256(text.encode()).hexdigest()[:6]}"


def _short(name: str, values: Mapping[str, Any]) -> str:
    """A setting's key; with its table if two tables have this key, or if it is `seed`."""
    key = name.rpartition(".")[2]
    same = sum(other.rpartition(".")[2] == key for other in values)
    return key if same == 1 and key != SEED else name


def check_sweep(
    store: Store,
    base: str,
    runs: Sequence[SweptRun],
    *,
    label: str | None = None,
    labels: Path | None = None,
    rivals: bool = False,
) -> None:
    """Raises, before any work, the errors that the runs or their comparison would raise later."""
    embeddings = store.open(EMBEDDINGS, _shared(store, base)[EMBEDDINGS.name])
    for run in runs:
        choose_stage("views", run.settings)
        run.settings.assign.require_possible(embeddings.rows)
    field = runs[0].settings.data.label
    check_images(embeddings, field, label=label, labels=labels, rivals=rivals)


def make_sweep(
    store: Store,
    base: str,
    runs: Sequence[SweptRun],
    runtime: Runtime,
    say: Callable[[str], None],
) -> list[str]:
    """Makes the clusters of each run, from the embeddings of the run `base`; the names.

    Equal steps are made once: the store finds them. MissingError if `base` has no embeddings;
    ConfigError if a run of the same name has other images or settings.
    """
    record, shared = store.runs.read(base), _shared(store, base)
    runs = [_free_run(store, base, run, shared[EMBEDDINGS.name]) for run in runs]
    for number, run in enumerate(runs, 1):
        say(f"sweep: {number} of {counted(len(runs), 'run')}, {run.name}")
        store.refer(
            run.name,
            shared,
            settings=run.settings.tables(),
            sources=record.sources,
            stamps=record.stamps,
        )
        Plan(store, run.name, run.settings, runtime, say).make("assignments")
    return [run.name for run in runs]


def _shared(store: Store, base: str) -> dict[str, str]:
    """The versions of all embeddings of the run `base`; MissingError where it has none."""
    shared = {
        slot: version
        for slot, version in store.runs.read(base).versions.items()
        if split_slot(slot)[0] == EMBEDDINGS.name
    }
    if EMBEDDINGS.name not in shared:
        others = ", ".join(store.runs.names())
        hint = f", or name another run with --run: {others}" if others else ""
        raise MissingError(
            f"run {base!r} of the store {store.root} has no embeddings yet: `cpp-pipe embed` or "
            f"`cpp-pipe import` makes them{hint}"
        )
    return shared


def _free_run(store: Store, base: str, run: SweptRun, embeddings: str) -> SweptRun:
    """The run, with what an earlier run of its name was given later; ConfigError if that run has
    other images or settings."""
    existing = store.runs.read(run.name)
    version = existing.versions.get(EMBEDDINGS.name)
    if version is None:
        return run
    folder = store.runs.path(run.name).parent
    if version != embeddings:
        raise ConfigError(
            f"the store {store.root} has a run {run.name!r} of other images: the embeddings of "
            f"{base!r} changed since it was made, or it is no run of this sweep. Remove its folder "
            f"{folder}, with what was decided in it, to have it made again, or embed the images in "
            "a run of another name, and sweep that"
        )
    settings = settings_of(store, existing)
    later = [table for table in _INDEPENDENT_TABLES if table not in run.tables]
    wanted = run.settings.with_tables_of(settings, [*later, *_unused(run)])
    other = _first_difference(settings.tables(), wanted.tables())
    if other is not None:
        name, was, is_now = other
        raise ConfigError(
            f"the store {store.root} has a run {run.name!r} of other settings: its {name} is "
            f"{was!r}, and not {is_now!r}. Add --set {name}=VALUE, which new runs are named by, or "
            f"remove its folder {folder}, with what was decided in it, to have it made again"
        )
    return replace(run, settings=wanted)


def _unused(run: SweptRun) -> list[str]:
    """Tables that the clusters of a run do not depend on."""
    assign = run.settings.assign
    used = {"select_k": assign.k == "auto", "merge": assign.method == "hierarchy"}
    return [table for table, is_used in used.items() if not is_used and table not in run.tables]


def _first_difference(
    existing: Mapping[str, Any], wanted: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """TABLE.KEY of the first setting of two runs that differs, and both values."""
    for table in [name for name in wanted if name not in _SHARED_TABLES]:
        for key, value in wanted[table].items():
            if existing[table][key] != value:
                return f"{table}.{key}", existing[table][key], value
    return None
