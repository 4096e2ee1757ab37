"""Which rows of a run are chosen, and why the others are not."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...store import Artifact, ConfigError, MissingError
from ..view.searcher import first_captions

if TYPE_CHECKING:
    import numpy as np

_SHOWN = 5
"""Names that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What rows must be; each condition that is not given leaves all of them."""

    clusters: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    """Captions of clusters, in any case; `*` and `?` stand for letters."""
    min_confidence: float = 0.0
    keys: Path | None = None
    """A file with a KEY or SHARD:KEY a line: these rows alone."""
    not_keys: Path | None = None
    """The same, of rows that are left out."""
    is_deduplicated: bool = False
    """Whether one row of each group of near-duplicates is enough."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"--min-confidence {self.min_confidence:g} is not allowed: 0 to 1 is")

    @property
    def asks_for_clusters(self) -> bool:
        """Whether assignments are needed."""
        return bool(self.clusters or self.captions or self.min_confidence)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rows that were chosen, and how many were not, by the first reason that applied to each."""

    rows: "np.ndarray"
    """Row numbers over all parts of the embeddings, ascending."""
    left_out: dict[str, int]

    @property
    def seen(self) -> int:
        """All rows: chosen and left out."""
        return len(self.rows) + sum(self.left_out.values())

    def describe(self) -> str:
        """Counts that add up, as one line."""
        line = f"seen {self.seen:,} = chosen {len(self.rows):,}"
        return line + "".join(f" + {count:,} {why}" for why, count in self.left_out.items())


def choose(
    wanted: Wanted,
    embeddings: Artifact,
    assignments: Artifact | None = None,
    captions: Artifact | None = None,
    duplicates: Artifact | None = None,
) -> Chosen:
    """The rows that are wanted. Of near-duplicates the kept one stays where it is chosen itself.

    Where it is not, the one that is most like it stays. Raises ConfigError for a cluster, a caption
    or a key that is not there, and where nothing is left.
    """
    import numpy as np

    is_chosen = np.ones(embeddings.rows, bool)
    left_out: dict[str, int] = {}

    def leave(why: str, is_wanted: "np.ndarray") -> None:
        nonlocal is_chosen
        left_out[why] = int((is_chosen & ~is_wanted).sum())
        is_chosen = is_chosen & is_wanted

    if wanted.asks_for_clusters:
        assert assignments is not None, "clusters are asked for without assignments"
        if wanted.clusters or wanted.captions:
            numbers = [*wanted.clusters, *_captioned(wanted.captions, captions)]
            cluster = _column(assignments, "cluster")
            _require_clusters(wanted.clusters, cluster)
            leave("in other clusters", np.isin(cluster, numbers))
        if wanted.min_confidence:
            confidence = _column(assignments, "confidence")
            why = f"below confidence {wanted.min_confidence:g}"
            leave(why, confidence >= np.float32(wanted.min_confidence))
    if wanted.keys is not None:
        leave("not among the keys", _named(embeddings, wanted.keys, "--keys"))
    if wanted.not_keys is not None:
        leave("named to be left out", ~_named(embeddings, wanted.not_keys, "--not-keys"))
    if wanted.is_deduplicated:
        assert duplicates is not None, "duplicates are to be dropped without their groups"
        leave("near-duplicates of one that stays", ~_spare(duplicates, is_chosen))
    chosen = Chosen(rows=is_chosen.nonzero()[0], left_out=left_out)
    if not len(chosen.rows):
        raise ConfigError(f"nothing is chosen ({chosen.describe()}): ask for less at once")
    return chosen


def _column(artifact: Artifact, name: str) -> "np.ndarray":
    import numpy as np

    tables = [artifact.table(part.name, columns=[name]) for part in artifact.parts]
    return np.concatenate([np.empty(0), *(one.column(0).to_numpy() for one in tables)])


def _require_clusters(numbers: Sequence[int], cluster: "np.ndarray") -> None:
    there = sorted(set(cluster.astype(int).tolist()))
    absent = [str(one) for one in numbers if one not in there]
    if absent:
        raise ConfigError(
            f"--cluster {', '.join(absent)} is not there: clusters are {there[0]} to {there[-1]}"
        )


def _captioned(patterns: Sequence[str], captions: Artifact | None) -> list[int]:
    """The clusters whose first caption a pattern matches, with its second word or without."""
    if not patterns:
        return []
    if captions is None:
        raise MissingError(
            "--caption needs captions of the clusters: `cpp-pipe caption` makes them"
        )
    names = {cluster: name.lower() for cluster, name in first_captions(captions).items()}
    numbers: list[int] = []
    for pattern in patterns:
        found = [
            one
            for one, name in names.items()
            if fnmatch.filter((name, name.partition(", ")[0]), pattern.lower())
        ]
        if not found:
            there = sorted(set(names.values()))
            more = f" and {len(there) - _SHOWN:,} more" if len(there) > _SHOWN else ""
            raise ConfigError(
                f"--caption {pattern!r} names no cluster: captions are "
                f"{', '.join(there[:_SHOWN])}{more}; stars match anything, as '*{pattern}*'"
            )
        numbers += found
    return numbers


def _named(embeddings: Artifact, path: Path, flag: str) -> "np.ndarray":
    """Whether each row is named in a file of keys; ConfigError for a key that no row has."""
    import numpy as np

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{flag} {path} cannot be read as lines of text: {error}") from error
    names = {line.strip() for line in lines if line.strip()}
    found: set[str] = set()
    is_named: list[bool] = []
    for part in embeddings.parts:
        table = embeddings.table(part.name, columns=["key", "shard"]).to_pydict()
        for key, shard in zip(table["key"], table["shard"], strict=True):
            own = names & {key, f"{shard}:{key}"}
            found |= own
            is_named.append(bool(own))
    absent = sorted(names - found)
    if absent:
        more = f" and {len(absent) - _SHOWN:,} more" if len(absent) > _SHOWN else ""
        raise ConfigError(
            f"{flag} {path} names {', '.join(absent[:_SHOWN])}{more}, which no row has: a line is "
            "a KEY, or SHARD:KEY"
        )
    return np.array(is_named, bool)


def _spare(duplicates: Artifact, is_chosen: "np.ndarray") -> "np.ndarray":
    """Rows of groups whose first chosen row stands for them."""
    import numpy as np

    is_spare = np.zeros(len(is_chosen), bool)
    table = duplicates.table(duplicates.parts[0].name, columns=["group", "row"])
    group, row = table.column("group").to_numpy(), table.column("row").to_numpy()
    inside = is_chosen[row]
    group, row = group[inside], row[inside]
    _, first = np.unique(group, return_index=True)
    is_spare[np.delete(row, first)] = True
    return is_spare
