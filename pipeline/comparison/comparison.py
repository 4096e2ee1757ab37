"""Groups of partitions, the settings that differ between them, and their agreement."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

from .image_set import is_matched_by_key_alone, match_rows
from .partition import SEED, Partition


class Value(NamedTuple):
    """A measure over the runs of a group."""

    mean: float
    spread: float | None
    """The sample standard deviation; None for a single run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Runs that differ in their seeds only, or a rival with several seeds."""

    label: str
    partitions: tuple[Partition, ...]

    @property
    def is_rival(self) -> bool:
        """Whether it is a rival, not a group of runs."""
        return self.partitions[0].is_rival

    @property
    def seeds(self) -> list[int | None]:
        """The seed that sets each partition apart; None if the seeds of several steps differ."""
        own = [partition.seeds for partition in self.partitions]
        varied = [name for name in own[0] if any(own[0][name] != other[name] for other in own)]
        values_of_each = [{seeds[name] for name in varied or seeds} for seeds in own]
        if len(own) == 1:
            return [self.partitions[0].seed]
        return [values.pop() if len(values) == 1 else None for values in values_of_each]

    def value(self, measure: str) -> Value | None:
        """Mean and spread of `k`, `acc`, `nmi`, `ari`, `confidence` or `seconds`."""
        values = [measure_of(partition, measure) for partition in self.partitions]
        known = [value for value in values if value is not None]
        if not known:
            return None
        return Value(fmean(known), stdev(known) if len(known) > 1 else None)


def measure_of(partition: Partition, measure: str) -> float | None:
    """A measure of one partition; None if it has none."""
    if measure in ("acc", "nmi", "ari"):
        return None if partition.scores is None else getattr(partition.scores, measure)
    return getattr(partition, measure)


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Groups of runs and rivals, with the settings that differ and the agreement of clusters."""

    groups: tuple[Group, ...]
    settings: Mapping[str, tuple[str, ...]]
    """Each setting that differs, apart from seeds, with its value in each group, or -."""
    agreement: tuple[tuple[float | None, ...], ...]
    """(m, m) ARI between the clusters of two groups over the images that both hold, the mean over
    pairs of runs. On the diagonal it is the ARI between two seeds; None for a single run."""
    shared: int
    """The fewest images that any two of the partitions share."""
    images: int
    """The most images that any of them holds."""
    classes: int | None
    """The number of classes of the labels; None without labels."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader should know."""

    @property
    def is_scored(self) -> bool:
        """Whether there are labels."""
        return any(group.value("acc") is not None for group in self.groups)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "images": self.images,
            "shared": self.shared,
            "classes": self.classes,
            "groups": [_group_to_json(group) for group in self.groups],
            "settings": {name: list(values) for name, values in self.settings.items()},
            "agreement": [list(row) for row in self.agreement],
            "notes": list(self.notes),
        }


MEASURES = ("k", "acc", "nmi", "ari", "confidence", "seconds")
"""The names of the measures of each partition."""


def _group_to_json(group: Group) -> dict[str, Any]:
    values = {measure: group.value(measure) for measure in MEASURES}
    return {
        "label": group.label,
        "is_rival": group.is_rival,
        "runs": [partition.name for partition in group.partitions],
        "seeds": group.seeds,
        **{name: None if value is None else value._asdict() for name, value in values.items()},
    }


def compare_partitions(partitions: Sequence[Partition], notes: Sequence[str] = ()) -> Comparison:
    """Groups partitions whose settings differ in seeds only, in the order given."""
    groups, settings, repeated = group_partitions(partitions)
    agreement, shared, doubts = _agreement(groups)
    classes: set[str] = set()
    for partition in partitions:
        images = partition.images
        classes.update(images.labels[images.is_labelled].tolist())
    return Comparison(
        groups=groups,
        settings=settings,
        agreement=agreement,
        shared=shared,
        images=max(len(partition.images) for partition in partitions),
        classes=len(classes) or None,
        notes=(*notes, *repeated, *doubts, *_equal_pairs(groups)),
    )


def _equal_pairs(groups: Sequence[Group]) -> list[str]:
    """A sentence for each two groups of runs whose clusters are the same, seed by seed."""
    runs = [group for group in groups if not group.is_rival]
    return [
        f"{a.label} and {b.label} made the same clusters"
        for a, b in combinations(runs, 2)
        if len(a.partitions) == len(b.partitions)
        and all(map(_are_equal, a.partitions, b.partitions))
    ]


def _are_equal(a: Partition, b: Partition) -> bool:
    """Whether two runs have the same clusters, in any numbering."""
    if a.images.embeddings.content != b.images.embeddings.content:
        return False
    pairs = np.unique(np.stack([a.clusters, b.clusters]), axis=1)
    return all(len(np.unique(numbers)) == pairs.shape[1] for numbers in pairs)


class Grouped(NamedTuple):
    """Partitions in groups, and the settings that differ between groups."""

    groups: tuple[Group, ...]
    settings: dict[str, tuple[str, ...]]
    """The values in each group of the settings that differ, apart from seeds."""
    notes: tuple[str, ...]
    """A sentence for each run with the settings and seeds of an earlier one."""


def group_partitions(partitions: Sequence[Partition]) -> Grouped:
    """Groups of partitions that differ in seeds only; equal seeds are counted once."""
    differing = _differing([partition for partition in partitions if not partition.is_rival])
    members: dict[tuple[Any, ...], dict[str, Partition]] = {}
    notes = []
    for partition in partitions:
        values = tuple(repr(partition.settings.get(name)) for name in differing)
        rival = partition.name if partition.is_rival else ""
        key = (rival, partition.images.embeddings.content, partition.given, *values)
        by_seed = members.setdefault(key, {})
        first = by_seed.setdefault(repr(partition.seeds), partition)
        if first is not partition:
            notes.append(
                f"{partition.name} has the settings and the seeds of {first.name}: both count as "
                "one run"
            )
    short = _short_names(differing)
    groups = []
    for own in (list(by_seed.values()) for by_seed in members.values()):
        values = [_text(own[0].settings.get(name)) for name in differing]
        parts = [f"{short[name]}={value}" for name, value in zip(differing, values, strict=True)]
        # A single run is known by its name; several by the settings that only they share.
        is_named = own[0].is_rival or len(own) == 1 or not parts
        label = _common_name(own) if is_named else ", ".join(parts)
        groups.append(Group(label=label, partitions=tuple(own)))
    settings = {
        name: tuple(_text(group.partitions[0].settings.get(name)) for group in groups)
        for name in differing
    }
    return Grouped(_distinct(groups), settings, tuple(notes))


def _common_name(partitions: Sequence[Partition]) -> str:
    """The name of one run, or the beginning that the names of several share."""
    names = [partition.name for partition in partitions]
    if len(set(names)) == 1:
        return names[0]
    columns = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    prefix = "".join(letters[0] for letters in columns)
    return re.sub(r"([-_.=]+seed)?[-_.=]*$", "", prefix) or names[0]


def _distinct(groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups; equal labels also get the name of their first run, or "rival"."""
    labels = [group.label for group in groups]

    def label_of(group: Group) -> str:
        if labels.count(group.label) == 1:
            return group.label
        return f"{group.label} ({'rival' if group.is_rival else group.partitions[0].name})"

    return tuple(Group(label=label_of(group), partitions=group.partitions) for group in groups)


def _differing(partitions: Sequence[Partition]) -> list[str]:
    """The settings that are not the same in all runs, apart from seeds, in the order of tables."""
    names = dict.fromkeys(name for partition in partitions for name in partition.settings)
    return [
        name
        for name in names
        if name.rpartition(".")[2] != SEED
        and len({repr(partition.settings.get(name)) for partition in partitions}) > 1
    ]


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Each setting's key, with its table if keys of two tables are the same."""
    keys = [name.rpartition(".")[2] for name in names]
    return {
        name: key if keys.count(key) == 1 else name for name, key in zip(names, keys, strict=True)
    }


def _text(value: Any) -> str:
    if value is None or value in ("", [], ()):
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _agreement(
    groups: Sequence[Group],
) -> tuple[tuple[tuple[float | None, ...], ...], int, list[str]]:
    """The ARI of each two groups, the fewest images that two partitions share, and doubts."""
    from ...stages.algorithms import metrics

    numbered = [(i, part) for i, group in enumerate(groups) for part in group.partitions]
    sums: dict[tuple[int, int], list[float]] = {}
    matched: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    shared = min(len(partition.images) for _, partition in numbered)
    doubts = []
    for (i, a), (j, b) in combinations(numbered, 2):
        contents = a.images.embeddings.content, b.images.embeddings.content
        if contents not in matched:
            matched[contents] = match_rows(a.images, b.images)
            is_new = contents[::-1] not in matched
            if is_new and is_matched_by_key_alone(a.images, b.images, matched[contents][0]):
                doubts.append(
                    f"the images of {a.name} and {b.name} are matched only by key, because their "
                    "shards differ: agreement is meaningless if equal keys are different images"
                )
        rows_a, rows_b = matched[contents]
        shared = min(shared, len(rows_a))
        if len(rows_a) > 1:
            value = metrics.ari(a.clusters[rows_a], b.clusters[rows_b])
            sums.setdefault((i, j), []).append(value)
    means = {pair: fmean(values) for pair, values in sums.items()}
    size = range(len(groups))
    matrix = tuple(tuple(means.get((min(i, j), max(i, j))) for j in size) for i in size)
    return matrix, shared, doubts
