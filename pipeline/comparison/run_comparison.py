"""Compares runs of a store: their clusters are made where they are missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...stages.contract import Runtime
from ...store import ConfigError, MissingError, Store
from ..config import settings_of
from ..making.plan import Plan
from ..view.labels import explain_no_labels
from ..view.opened_run import OpenedRun
from ..wording import counted
from .comparison import Comparison, compare_partitions, group_partitions
from .image_set import ImageSet
from .partition import Partition, partition_of
from .rivals import describe_noise, fit_rivals


def compare_runs(
    store: Store,
    names: Sequence[str],
    runtime: Runtime,
    say: Callable[[str], None],
    *,
    label: str | None = None,
    labels: Path | None = None,
    rivals: bool = False,
    k: int | None = None,
) -> Comparison:
    """The runs side by side, in the order given.

    `label` and `labels` say where labels are, as for `eval`. `rivals` adds other ways to cluster
    the same embeddings, with k clusters: without `k` as many as there are classes, or, without
    labels, as in the first run. MissingError for a run that the store does not have, or where no
    image has a label of those that were asked for.
    """
    if k is not None and not rivals:
        raise ConfigError(
            "k is the number of clusters of rivals: add --rivals (from Python rivals=True), or "
            "leave it out"
        )
    images: dict[tuple[str, str], ImageSet] = {}
    partitions = [_read(store, name, runtime, say, label, labels, images) for name in names]
    if label is not None or labels is not None:
        _require_labels(list(images.items()), labels)
    notes = []
    if rivals:
        sets = {p.images.embeddings.content: p for p in reversed(partitions)}
        seeds = max(len(group.partitions) for group in group_partitions(partitions).groups)
        for first in reversed(sets.values()):
            found = first.images
            wanted = k or len(set(found.labels[found.is_labelled].tolist())) or first.k
            say(f"compare: rivals make {counted(wanted, 'cluster')} of {len(found):,} embeddings")
            suffix = f" on {first.name}" if len(sets) > 1 else ""
            made = list(fit_rivals(found, wanted, seeds, runtime.progress, say, suffix))
            notes += [note for rival in made if (note := describe_noise(rival)) is not None]
            partitions += made
    comparison = compare_partitions(partitions)
    if comparison.shared < comparison.images:
        notes.append(
            f"the runs hold different images: scores are over the images of each, agreement over "
            f"those that two of them share ({comparison.shared:,} at least)"
        )
    return replace(comparison, notes=tuple(dict.fromkeys([*notes, *comparison.notes])))


def _require_labels(read: Sequence[tuple[tuple[str, str], ImageSet]], labels: Path | None) -> None:
    """MissingError where no image of any run has a label."""
    if not any(found.is_labelled.any() for _, found in read):
        (_, field), found = read[0]
        raise MissingError(explain_no_labels(found.embeddings, field, labels, len(found)))


def _read(
    store: Store,
    name: str,
    runtime: Runtime,
    say: Callable[[str], None],
    label: str | None,
    labels: Path | None,
    images: dict[tuple[str, str], ImageSet],
) -> Partition:
    plan = open_plan_of(store, name, runtime, say)
    plan.make("assignments", asked_by="compare")
    embeddings = plan.make("embeddings", asked_by="compare")
    field = label or plan.settings.data.label
    if (embeddings.content, field) not in images:
        images[embeddings.content, field] = ImageSet.read(embeddings, field, labels)
    return partition_of(OpenedRun.open(store, name), images[embeddings.content, field])


def open_plan_of(store: Store, name: str, runtime: Runtime, say: Callable[[str], None]) -> Plan:
    """The plan of a run with the settings of its record; MissingError if the store has none."""
    record = store.runs.read(name)
    if not record.versions:
        held = [run for run in store.runs.names() if store.runs.read(run).versions]
        raise MissingError(
            f"the store {store.root} has no run {name!r}, its runs are: {', '.join(held) or 'none'}"
        )
    return Plan(store, name, settings_of(store, record), runtime, say)


def require_distinct(names: Sequence[str]) -> None:
    """ConfigError where a run is named twice."""
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ConfigError(f"the run {twice[0]!r} is named twice: name each run once")
