"""Selects the rows of a run that meet conditions, and counts why others are left out."""

import fnmatch
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...stages.edits.replay import Edited
from ...stages.sources.fields import plain_value
from ...stages.sources.tables.values import find_repeated, plain_column, table_errors
from ...stages.sources.user_files import read_lines
from ...store import Artifact, ConfigError, MissingError
from ..view.captions import first_captions
from ..view.columns import read_column
from ..view.keys import match_keys, without_point

_SHOWN = 5
"""Names that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions that selected rows must meet; by default there are none."""

    clusters: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    """Captions of clusters, in upper or lower case; `*` and `?` are wildcards."""
    min_confidence: float = 0.0
    keys: Path | None = None
    """Only rows that this file names, by a KEY or SHARD:KEY on each line."""
    not_keys: Path | None = None
    """No row that this file names."""
    is_deduplicated: bool = False
    """Whether only one row of each group of near-duplicates is selected."""
    tags: tuple[str, ...] = ()
    """Only rows with one of these tags."""
    not_tags: tuple[str, ...] = ()
    """No row with any of these tags."""

    def __post_init__(self) -> None:
        least = self.min_confidence
        is_number = isinstance(least, int | float | np.integer | np.floating)
        if not is_number or not 0 <= least <= 1:
            raise ConfigError(f"--min-confidence must be from 0 to 1, got {reprlib.repr(least)}")

    @property
    def asks_for_clusters(self) -> bool:
        """Whether the conditions need assignments."""
        return bool(self.clusters or self.captions or self.min_confidence)

    @property
    def asks_for_tags(self) -> bool:
        """Whether the conditions need decisions."""
        return bool(self.tags or self.not_tags)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selected rows, and the number of other rows by the first reason that applied."""

    rows: np.ndarray
    """Row numbers over all parts of the embeddings, ascending."""
    left_out: dict[str, int]

    @property
    def seen(self) -> int:
        """The number of all rows, selected or left out."""
        return len(self.rows) + sum(self.left_out.values())

    def describe(self) -> str:
        """A line of counts that add up."""
        line = f"seen {self.seen:,} = chosen {len(self.rows):,}"
        return line + "".join(f" + {count:,} {reason}" for reason, count in self.left_out.items())


def select_rows(
    conditions: Conditions,
    embeddings: Artifact,
    assignments: Artifact | None = None,
    captions: Artifact | None = None,
    duplicates: Artifact | None = None,
    edited: Edited | None = None,
    where: Mapping[str, np.ndarray] | None = None,
) -> Selection:
    """The rows that meet all conditions.

    Of a group of near-duplicates the kept row is selected, or, if a condition leaves it out, the
    row most like it. With `edited`, clusters and their names are the decided ones, and excluded
    rows are left out. `where` has the rows that meet each further condition. ConfigError for a
    cluster, caption, tag or key that does not exist, and if no row is left.
    """
    is_selected = np.ones(embeddings.rows, bool)
    left_out: dict[str, int] = {}

    def narrow(is_met: np.ndarray, reason: str) -> None:
        nonlocal is_selected
        left_out[reason] = int((is_selected & ~is_met).sum())
        is_selected = is_selected & is_met

    if edited is not None:
        narrow(~edited.excluded, "excluded by a decision")
    if conditions.asks_for_clusters:
        assert assignments is not None, "conditions on clusters need assignments"
        if conditions.clusters or conditions.captions:
            labels = read_column(assignments, "cluster") if edited is None else edited.cluster
            names = None if captions is None else dict(first_captions(captions))
            if edited is not None:
                names = {**(names or {}), **edited.names} or None
            numbers = [*conditions.clusters, *_clusters_by_caption(conditions.captions, names)]
            _require_clusters(conditions.clusters, labels)
            narrow(np.isin(labels, numbers), "in other clusters")
        if conditions.min_confidence:
            confidence = read_column(assignments, "confidence")
            reason = f"below confidence {conditions.min_confidence:g}"
            narrow(confidence >= np.float32(conditions.min_confidence), reason)
    if conditions.asks_for_tags:
        assert edited is not None, "conditions on tags need decisions"
        if conditions.tags:
            narrow(_has_tag(conditions.tags, edited, "--tag"), "without the tag")
        if conditions.not_tags:
            narrow(~_has_tag(conditions.not_tags, edited, "--not-tag"), "with a tag to be left out")
    for condition, is_met in (where or {}).items():
        narrow(is_met, f"not meeting {condition}")
    if conditions.keys is not None:
        narrow(match_file(embeddings, conditions.keys, "--keys"), "not among the keys")
    if conditions.not_keys is not None:
        narrow(~match_file(embeddings, conditions.not_keys, "--not-keys"), "named to be left out")
    if conditions.is_deduplicated:
        assert duplicates is not None, "dropping duplicates needs their groups"
        narrow(~_is_spare(duplicates, is_selected), "near-duplicates of one that stays")
    selection = Selection(rows=is_selected.nonzero()[0], left_out=left_out)
    if not len(selection.rows):
        raise ConfigError(f"no row meets all conditions ({selection.describe()}): give fewer")
    return selection


def _require_clusters(numbers: Sequence[int], labels: np.ndarray) -> None:
    present = sorted(set(labels.tolist()))
    absent = [str(number) for number in numbers if number not in present]
    if absent:
        raise ConfigError(
            f"--cluster must be from {present[0]} to {present[-1]}, got {', '.join(absent)}"
        )


def _has_tag(tags: Sequence[str], edited: Edited, flag: str) -> np.ndarray:
    """Whether each row has one of the tags; ConfigError for a tag that no row has."""
    unknown = [tag for tag in tags if tag not in edited.tags]
    if unknown:
        known = _list_first(sorted(edited.tags)) or "none"
        raise ConfigError(f"{flag} must be a tag of the run ({known}), got {unknown[0]!r}")
    return np.logical_or.reduce([edited.tags[tag] for tag in tags])


def _first_word(caption: str) -> str:
    """A caption without the second word or the number in brackets that made it unique."""
    return re.sub(r" \(\d+\)$", "", caption.partition(", ")[0])


def _clusters_by_caption(patterns: Sequence[str], captions: Mapping[int, str] | None) -> list[int]:
    """The clusters whose caption, or its first word alone, matches a pattern."""
    if not patterns:
        return []
    if captions is None:
        raise MissingError(
            "--caption needs captions of the clusters: `cpp-pipe caption` makes them"
        )
    names = {cluster: caption.lower() for cluster, caption in captions.items()}
    numbers: list[int] = []
    for pattern in patterns:
        wildcards = pattern.lower().replace("[", "[[]")  # a bracket stands for itself
        matches = [
            cluster
            for cluster, name in names.items()
            if fnmatch.filter((name, _first_word(name)), wildcards)
        ]
        if not matches:
            raise ConfigError(
                f"--caption {pattern!r} names no cluster: captions are "
                f"{_list_first(sorted(set(names.values())))}; stars match anything, e.g. "
                f"'*{pattern}*'"
            )
        numbers += matches
    return numbers


def read_keys(path: Path, flag: str) -> set[str]:
    """The KEY or SHARD:KEY of each line of a file, or of each row of a table in Parquet.

    ConfigError if it cannot be read.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_table(path, flag)
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{flag} {path} cannot be read as lines of text: {error}") from error
    return {line.strip() for line in lines if line.strip()}


def is_line(name: str) -> bool:
    """Whether `read_keys` reads a name back from a line of its own.

    Names of files may have line breaks, and spaces of many kinds at their ends.
    """
    return name.strip() == name != "" and "\n" not in name and "\r" not in name


def _read_table(path: Path, flag: str) -> set[str]:
    """The images of a table: those of its column `key`, and of `shard` if it has that."""
    import pyarrow.parquet as pq

    try:
        names = [name for name in pq.read_schema(path).names if name in ("key", "shard")]
        if repeated := find_repeated(names, ("key", "shard")):
            raise ConfigError(f"{flag} {path} has several columns {repeated}: rename the others")
        read = pq.read_table(path, columns=names, partitioning=None)
        table = {
            name: [plain_value(value) for value in plain_column(read.column(name))]
            for name in names
        }
    except table_errors() as error:
        raise ConfigError(f"{flag} {path} cannot be read as Parquet: {error}") from error
    if "key" not in table:
        raise ConfigError(f"{flag} {path} has no column `key`: name a table that has one")
    gap = next((row for row, key in enumerate(table["key"]) if key in (None, "")), None)
    if gap is not None:
        raise ConfigError(f"{flag} {path}: row {gap} has no key: remove it")
    if "shard" not in table:
        return {str(key) for key in table["key"]}
    return {f"{shard}:{key}" for shard, key in zip(table["shard"], table["key"], strict=True)}


def read_names(embeddings: Artifact, path: Path, flag: str) -> frozenset[str]:
    """The keys of `read_keys`; whole numbers among floats without their point, as images have them.

    Those that images have with their point keep it.
    """
    names = frozenset(read_keys(path, flag))
    floats = frozenset(name for name in names if without_point(name) != name)
    unknown = match_keys(embeddings, floats)[1] if floats else floats
    return names - unknown | frozenset(map(without_point, unknown))


def match_file(embeddings: Artifact, path: Path, flag: str) -> np.ndarray:
    """Whether a file of keys names each row; ConfigError for a key that no row has."""
    names = read_names(embeddings, path, flag)
    is_named, unknown = match_keys(embeddings, names)
    if unknown:
        raise ConfigError(
            f"{flag} {path} names {_list_first(sorted(unknown))}, which no row has: a line must be "
            "KEY or SHARD:KEY, or PART:KEY where two parts hold the same SHARD:KEY"
        )
    return is_named


def _list_first(names: Sequence[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _is_spare(duplicates: Artifact, is_selected: np.ndarray) -> np.ndarray:
    """Whether each row is a near-duplicate of the first selected row of its group."""
    is_spare = np.zeros(len(is_selected), bool)
    table = duplicates.table(duplicates.only_part, columns=["group", "row"])
    groups, rows = table.column("group").to_numpy(), table.column("row").to_numpy()
    groups, rows = groups[is_selected[rows]], rows[is_selected[rows]]
    _, first = np.unique(groups, return_index=True)
    is_spare[np.delete(rows, first)] = True
    return is_spare
