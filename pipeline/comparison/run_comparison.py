"""Compares runs of a store; makes clusters that are missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...stages.contract import Runtime
from ...store import Artifact, ConfigError, MissingError, Store
from ..config import settings_of, to_plain
from ..making.plan import Plan
from ..missing_runs import explain_no_run
from ..view.labels import explain_no_labels
from ..view.opened_run import OpenedRun
from ..wording import counted
from .comparison import Comparison, compare_partitions, group_partitions
from .image_set import ImageSet
from .partition import Partition, partition_of
from .rivals import describe_noise, fit_rivals, require_enough


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
    """The comparison of runs, in the order given.

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
    k = to_plain(k)
    if k is not None and (not isinstance(k, int) or isinstance(k, bool) or k < 1):
        raise ConfigError(f"k must be a whole number, at least 1, got {k!r}")
    plans = [open_plan_of(store, name, runtime, say) for name in names]
    images = _read_images(plans, label, labels)
    if rivals:
        for image_set in images:
            require_enough(len(image_set), k or _classes(image_set))
    partitions = [
        _partition(plan, image_set) for plan, image_set in zip(plans, images, strict=True)
    ]
    notes = []
    if rivals:
        sets = {p.images.embeddings.content: p for p in reversed(partitions)}
        seeds = max(len(group.partitions) for group in group_partitions(partitions).groups)
        for first in reversed(sets.values()):
            image_set = first.images
            wanted = k or _classes(image_set) or first.k
            say(
                f"compare: rivals make {counted(wanted, 'cluster')} of "
                f"{len(image_set):,} embeddings"
            )
            suffix = f" on {first.name}" if len(sets) > 1 else ""
            fits = list(fit_rivals(image_set, wanted, seeds, runtime.progress, say, suffix))
            notes += describe_noise(fits)
            partitions += fits
    comparison = compare_partitions(partitions)
    if comparison.shared < comparison.images:
        agree = f", agreement over those that two of them share ({comparison.shared:,} at least)"
        if comparison.shared == 0:
            agree = (
                "; some share no image (no key of one is in the other), so that nothing says how "
                "far they agree"
            )
        notes.append(f"the runs hold different images: scores are over the images of each{agree}")
    return replace(comparison, notes=tuple(dict.fromkeys([*notes, *comparison.notes])))


def check_images(
    embeddings: Artifact, field: str, *, label: str | None, labels: Path | None, rivals: bool
) -> None:
    """Refuses what `compare_runs` would refuse of runs with these embeddings, before they are made.

    `field` is the label that the runs' settings name.
    """
    images = ImageSet.read(embeddings, label or field, labels)
    _require_labels([images], label or field, label, labels)
    if rivals:
        require_enough(len(images), _classes(images))


def _classes(images: ImageSet) -> int | None:
    """How many classes the labels have; None without labels."""
    return len(set(images.labels[images.is_labelled].tolist())) or None


def _require_labels(
    images: Sequence[ImageSet], field: str, label: str | None, labels: Path | None
) -> None:
    """MissingError where no image has a label of those that were asked for."""
    is_asked = label is not None or labels is not None
    if is_asked and not any(image_set.is_labelled.any() for image_set in images):
        first = images[0]
        raise MissingError(explain_no_labels(first.embeddings, field, labels, len(first)))


def _read_images(plans: Sequence[Plan], label: str | None, labels: Path | None) -> list[ImageSet]:
    """The images of each run, with their labels; one object for the same images and labels.

    Where the settings of the runs name several labels, and images have only one of these, it is
    that of all runs: else one of two runs of the same images would have no score. MissingError
    where no image has a label of those that were asked for; ConfigError where runs would be scored
    against different labels.
    """
    sets: dict[tuple[str, str], ImageSet] = {}

    def read(embeddings: Artifact, field: str) -> ImageSet:
        at = embeddings.content, field
        if at not in sets:
            sets[at] = ImageSet.read(embeddings, field, labels)
        return sets[at]

    made = [plan.make("embeddings", asked_by="compare") for plan in plans]
    fields = [label or plan.settings.data.label for plan in plans]
    images = list(map(read, made, fields))
    _require_labels(images, fields[0], label, labels)
    present = {
        field
        for field, image_set in zip(fields, images, strict=True)
        if image_set.is_labelled.any()
    }
    if len(present) > 1 and labels is None:
        names = ", ".join(field for field in dict.fromkeys(fields) if field in present)
        raise ConfigError(
            f"the runs have different labels ({names}), and scores against them cannot "
            "stand in one table: name the label of all runs with --label (from Python label=)"
        )
    return [read(embeddings, *present) for embeddings in made] if len(present) == 1 else images


def _partition(plan: Plan, images: ImageSet) -> Partition:
    plan.make("assignments", asked_by="compare")
    return partition_of(OpenedRun.open(plan.store, plan.run), images)


def open_plan_of(store: Store, name: str, runtime: Runtime, say: Callable[[str], None]) -> Plan:
    """The plan of a run with the settings of its record; MissingError if the store has none."""
    record = store.runs.read(name)
    if not record.versions:
        runs = [run for run in store.runs.names() if store.runs.read(run).versions]
        raise MissingError(explain_no_run(store, name, runs))
    return Plan(store, name, settings_of(store, record), runtime, say)


def require_distinct(names: Sequence[str]) -> None:
    """ConfigError where a run is named twice."""
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ConfigError(f"the run {twice[0]!r} is named twice: name each run once")
