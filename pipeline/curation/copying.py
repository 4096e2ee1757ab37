"""Chooses the samples of a run by conditions, and copies them into new shards."""

from collections.abc import Sequence
from pathlib import Path

from ...store import Artifact, ConfigError
from ..making.plan import Plan
from ..view.applied_edits import open_edited
from ..view.conditions import match_each
from ..view.opened_run import OpenedRun
from .near_duplicates import make_tier
from .selection import Conditions, Selection, select_rows
from .shard_writer import WrittenShards, write_shards


def choose_samples(
    plan: Plan,
    wanted: Conditions,
    *,
    tier: str = "alike",
    above: float | None = None,
    edits: str | None = None,
    where: Sequence[str] = (),
) -> tuple[Selection, Artifact]:
    """The rows of a run that meet all conditions, and its embeddings; makes what these need.

    `tier` and `above` say which near-duplicates are dropped, where that is wanted; `edits` applies
    decisions. ConfigError where one of them has no meaning.
    """
    if above is not None and not wanted.is_deduplicated:
        raise ConfigError("--above, the minimum similarity of duplicates, needs --drop-duplicates")
    if tier != "alike" and not wanted.is_deduplicated:
        raise ConfigError("--tier, which duplicates are dropped, needs --drop-duplicates")
    if wanted.asks_for_tags and edits is None:
        raise ConfigError("--tag and --not-tag need --edits, such as --edits open")

    def make(slot: str, is_needed: bool) -> Artifact | None:
        return plan.make(slot, asked_by="curate") if is_needed else None

    embeddings = plan.make("embeddings", asked_by="curate")
    assignments = make("assignments", wanted.asks_for_clusters)
    run = OpenedRun.of(plan)
    matches = match_each(run, where)
    edited = None if edits is None else open_edited(run, edits)
    # With decisions, names are enough, so captions are not made.
    if edited is None:
        captions = make("captions", bool(wanted.captions))
    else:
        captions = run.show("captions") if wanted.captions else None
    near = make_tier(plan, tier, above, asked_by="curate") if wanted.is_deduplicated else None
    chosen = select_rows(wanted, embeddings, assignments, captions, near, edited, matches)
    return chosen, embeddings


def copy_samples(
    plan: Plan,
    chosen: Selection,
    embeddings: Artifact,
    out: Path,
    *,
    samples_per_shard: int = 1000,
    prefix: str = "",
) -> WrittenShards:
    """Copies samples chosen from embeddings, byte for byte, into shards in a new folder."""
    progress = plan.runtime.progress
    progress.start("curate", len(chosen.rows), "samples")
    return write_shards(
        chosen.rows,
        embeddings,
        plan.store.runs.read(plan.run).sources,
        out,
        samples_per_shard=samples_per_shard,
        prefix=prefix,
        report=progress.advance,
    )
