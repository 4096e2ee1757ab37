"""The rows of a run that conditions choose, and the reasons why the others are left out."""

import fnmatch
import re
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
from ..view.keys import match_keys

_SHOWN = 5
"""Names that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The conditions that chosen rows must meet; one that is not given leaves out no row."""

    clusters: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    """Captions of clusters, in upper or lower case; `*` and `?` are wildcards."""
    min_confidence: float = 0.0
    keys: Path | None = None
    """A file with a KEY or SHARD:KEY a line: only these rows."""
    not_keys: Path | None = None
    """The same: all but these rows."""
    is_deduplicated: bool = False
    """Whether only one row of each group of near-duplicates is chosen."""
    tags: tuple[str, ...] = ()
    """Only rows with one of these tags."""
    not_tags: tuple[str, ...] = ()
    """No row with any of these tags."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"--min-confidence must be from 0 to 1, got {self.min_confidence:g}")

    @property
    def asks_for_clusters(self) -> bool:
        """Whether the conditions need assignments."""
        return bool(self.clusters or self.captions or self.min_confidence)

    @property
    def asks_for_tags(self) -> bool:
        """Whether the conditions need decisions."""
        return bool(self.tags or self.not_tags)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rows that were chosen, and how many were left out, by the first reason that applied."""

    rows: np.ndarray
    """Row numbers over all parts of the embeddings, ascending."""
    left_out: dict[str, int]

    @property
    def seen(self) -> int:
        """All rows: chosen and left out."""
        return len(self.rows) + sum(self.left_out.values())

    def describe(self) -> str:
        """Counts that add up, as one line."""
        line = f"seen {self.seen:,} = chosen {len(self.rows):,}"
        return line + "".join(f" + {count:,} {reason}" for reason, count in self.left_out.items())


def choose(
    wanted: Wanted,
    embeddings: Artifact,
    assignments: Artifact | None = None,
    captions: Artifact | None = None,
    duplicates: Artifact | None = None,
    edited: Edited | None = None,
    where: Mapping[str, np.ndarray] | None = None,
) -> Chosen:
    """The rows that meet all conditions.

    Of a group of near-duplicates the kept row stays, or, if a condition leaves it out, the row most
    like it. If `edited` is given, clusters and their names are the decided ones, and excluded rows
    are left out. `where` says for each condition which rows meet it. ConfigError for a cluster,
    caption, tag or key that does not exist, and if no row is left.
    """
    is_chosen = np.ones(embeddings.rows, bool)
    left_out: dict[str, int] = {}

    def keep(is_met: np.ndarray, reason: str) -> None:
        nonlocal is_chosen
        left_out[reason] = int((is_chosen & ~is_met).sum())
        is_chosen = is_chosen & is_met

    if edited is not None:
        keep(~edited.excluded, "excluded by a decision")
    if wanted.asks_for_clusters:
        assert assignments is not None, "conditions on clusters need assignments"
        if wanted.clusters or wanted.captions:
            cluster = read_column(assignments, "cluster") if edited is None else edited.cluster
            names = None if captions is None else dict(first_captions(captions))
            if edited is not None:
                names = {**(names or {}), **edited.names} or None
            numbers = [*wanted.clusters, *_clusters_by_caption(wanted.captions, names)]
            _require_clusters(wanted.clusters, cluster)
            keep(np.isin(cluster, numbers), "in other clusters")
        if wanted.min_confidence:
            confidence = read_column(assignments, "confidence")
            reason = f"below confidence {wanted.min_confidence:g}"
            keep(confidence >= np.float32(wanted.min_confidence), reason)
    if wanted.asks_for_tags:
        assert edited is not None, "conditions on tags need decisions"
        if wanted.tags:
            keep(_tagged(wanted.tags, edited, "--tag"), "without the tag")
        if wanted.not_tags:
            keep(~_tagged(wanted.not_tags, edited, "--not-tag"), "with a tag to be left out")
    for condition, is_met in (where or {}).items():
        keep(is_met, f"not meeting {condition}")
    if wanted.keys is not None:
        keep(match_file(embeddings, wanted.keys, "--keys"), "not among the keys")
    if wanted.not_keys is not None:
        keep(~match_file(embeddings, wanted.not_keys, "--not-keys"), "named to be left out")
    if wanted.is_deduplicated:
        assert duplicates is not None, "dropping duplicates needs their groups"
        keep(~_find_spare(duplicates, is_chosen), "near-duplicates of one that stays")
    chosen = Chosen(rows=is_chosen.nonzero()[0], left_out=left_out)
    if not len(chosen.rows):
        raise ConfigError(f"no row meets all conditions ({chosen.describe()}): give fewer")
    return chosen


def _require_clusters(numbers: Sequence[int], cluster: np.ndarray) -> None:
    present = sorted(set(cluster.tolist()))
    absent = [str(number) for number in numbers if number not in present]
    if absent:
        raise ConfigError(
            f"--cluster must be from {present[0]} to {present[-1]}, got {', '.join(absent)}"
        )


def _tagged(tags: Sequence[str], edited: Edited, flag: str) -> np.ndarray:
    """Whether each row has one of the tags; ConfigError for a tag that no row has."""
    unknown = [tag for tag in tags if tag not in edited.tags]
    if unknown:
        known = _list_some(sorted(edited.tags)) or "none"
        raise ConfigError(f"{flag} must be a tag of the run ({known}), got {unknown[0]!r}")
    return np.logical_or.reduce([edited.tags[tag] for tag in tags])


def _first_word(caption: str) -> str:
    """A caption without a second word or a number in brackets, which set it apart from others."""
    return re.sub(r" \(\d+\)$", "", caption.partition(", ")[0])


def _clusters_by_caption(patterns: Sequence[str], first: Mapping[int, str] | None) -> list[int]:
    """The clusters whose name, or its first word alone, matches a pattern."""
    if not patterns:
        return []
    if first is None:
        raise MissingError(
            "--caption needs captions of the clusters: `cpp-pipe caption` makes them"
        )
    names = {cluster: name.lower() for cluster, name in first.items()}
    numbers: list[int] = []
    for pattern in patterns:
        matches = [
            cluster
            for cluster, name in names.items()
            if fnmatch.filter((name, _first_word(name)), pattern.lower())
        ]
        if not matches:
            raise ConfigError(
                f"--caption {pattern!r} names no cluster: captions are "
                f"{_list_some(sorted(set(names.values())))}; stars match anything, e.g. "
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

    Names of files may have line breaks of many kinds, and spaces at their ends.
    """
    return name.splitlines() == [name] and name.strip() == name


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
    if "shard" not in table:
        return {str(key) for key in table["key"]}
    return {f"{shard}:{key}" for shard, key in zip(table["shard"], table["key"], strict=True)}


def match_file(embeddings: Artifact, path: Path, flag: str) -> np.ndarray:
    """Whether each row is named in a file of keys; ConfigError for a key that no row has."""
    names = read_keys(path, flag)
    is_named, unknown = match_keys(embeddings, names)
    if unknown:
        raise ConfigError(
            f"{flag} {path} names {_list_some(sorted(unknown))}, which no row has: a line must be "
            "KEY or SHARD:KEY, or PART:KEY where two parts hold the same SHARD:KEY"
        )
    return is_named


def _list_some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _find_spare(duplicates: Artifact, is_chosen: np.ndarray) -> np.ndarray:
    """Whether each row has a near-duplicate that stays: the first chosen row of its group."""
    is_spare = np.zeros(len(is_chosen), bool)
    table = duplicates.table(duplicates.only_part, columns=["group", "row"])
    group, row = table.column("group").to_numpy(), table.column("row").to_numpy()
    inside = is_chosen[row]
    group, row = group[inside], row[inside]
    _, first = np.unique(group, return_index=True)
    is_spare[np.delete(row, first)] = True
    return is_spare
