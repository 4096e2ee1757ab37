"""Captions of clusters, best first."""

from collections.abc import Mapping
from typing import NamedTuple

from ...store import Artifact


class Caption(NamedTuple):
    """Words for a cluster."""

    words: str
    score: float
    """Its share of what the cluster gives to all words, 0 to 1: of votes, or of contrast."""


def read_captions(captions: Artifact) -> dict[int, list[Caption]]:
    """The captions of each cluster, best first."""
    return {cluster: ranked for (_, cluster), ranked in _read(captions, "rows").items()}


def read_level_captions(captions: Artifact) -> dict[tuple[int, int], list[Caption]]:
    """The captions of each cluster of a hierarchy, by level and cluster."""
    return _read(captions, "levels")


def first_captions(captions: Artifact) -> Mapping[int, str]:
    """The best caption of each cluster."""
    return {cluster: ranked[0].words for cluster, ranked in read_captions(captions).items()}


def _read(captions: Artifact, role: str) -> dict[tuple[int, int], list[Caption]]:
    """Captions by level and cluster; the level is 0 if the file has none."""
    by_place: dict[tuple[int, int], list[Caption]] = {}
    for row in captions.table(captions.only_part, role).sort_by("rank").to_pylist():
        place = row.get("level", 0), row["cluster"]
        by_place.setdefault(place, []).append(Caption(row["caption"], row["score"]))
    return by_place
