"""Opens the pool of images from which a sample of a run is chosen."""

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...store import ConfigError
from ..making.plan import Plan
from ..view.applied_edits import open_edited
from ..view.captions import first_captions
from ..view.columns import read_column
from ..view.conditions import match_where
from ..view.labels import read_labels
from ..view.opened_run import OpenedRun
from .sampling import Pool
from .selection import match_file

_LARGEST_PART = 1_000_000
"""Largest part of a strategy: larger numbers would overflow, and choose the same."""


def read_strategy(strategy: str) -> dict[str, float]:
    """The part of each strategy: `a,b` are equal parts, `a=3,b=1` are not."""
    shares: dict[str, float] = {}
    for word in strategy.split(",") if isinstance(strategy, str) else ["="]:  # which is refused
        name, equals, text = word.strip().partition("=")
        try:
            share = float(text) if equals else 1.0
        except ValueError:
            share = -1.0
        if name in shares or not 1 / _LARGEST_PART <= share <= _LARGEST_PART:
            raise ConfigError(
                f"--strategy must be NAME, or NAME=PART,NAME=PART with each name once and parts up "
                f"to {_LARGEST_PART:,}, got {reprlib.repr(strategy)}"
            )
        shares[name] = share
    return shares


def open_pool(
    plan: Plan,
    *,
    by: str | None = None,
    beside: Path | None = None,
    seed: int = 0,
    edits: str | None = None,
    where: Sequence[str] = (),
) -> Pool:
    """The images of a run that may be chosen; makes the clusters and features that are missing.

    `by` names what is balanced, `beside` a file of keys that are chosen already, `edits` decisions,
    and `where` conditions.
    """
    assignments = plan.make("assignments", asked_by="sample")
    embeddings = plan.make("embeddings", asked_by="sample")
    features = plan.make("features", asked_by="sample")
    run = OpenedRun.of(plan)
    edited = None if edits is None else open_edited(run, edits)
    cluster = read_column(assignments, "cluster") if edited is None else edited.cluster
    allowed = match_where(run, where)
    if edited is not None:
        allowed &= ~edited.excluded
    chosen = np.empty(0, np.int64)
    if beside is not None:
        chosen = match_file(embeddings, beside, "--beside").nonzero()[0]
    return Pool(
        features=features,
        cluster=cluster,
        confidence=read_column(assignments, "confidence"),
        novelty=read_column(assignments, "novelty"),
        allowed=allowed,
        groups=_groups(run, by, cluster),
        chosen=chosen,
        seed=seed,
    )


def _groups(run: OpenedRun, by: str | None, cluster: np.ndarray) -> list[Any] | None:
    """The value of a column in each row; None where clusters are meant."""
    if by is not None and not isinstance(by, str):
        raise ConfigError(f"--by must be the name of a column, got {reprlib.repr(by)}")
    if by in (None, "cluster"):
        return None
    if by == "caption":
        captions = run.current("captions")
        if captions is None:
            raise ConfigError("--by caption needs current captions: run `cpp-pipe caption`")
        names = first_captions(captions)
        return [names.get(number) for number in cluster.tolist()]
    values = read_labels(run.artifact("embeddings"), "cls" if by == "label" else by, None)
    if all(value is None for value in values):
        raise ConfigError(
            f"--by {reprlib.repr(by)}: no row has such a field; try cluster, caption or label"
        )
    return list(values)
