"""The command that copies chosen samples: curate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import Artifact, ConfigError
from .app import subcommands
from .options import (
    DEFAULT_PROGRESS,
    DEFAULT_RUN,
    DEFAULT_STORE,
    DeviceFlag,
    ProgressFlag,
    RunFlag,
    StoreFlag,
    open_plan,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..curation.selection import Chosen, Wanted
    from ..making.plan import Plan

app = subcommands()


@app.command()
def curate(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder for the shards.")
    ] = None,
    cluster: Annotated[
        list[str] | None, typer.Option("--cluster", help="Clusters, as 3,17; may be repeated.")
    ] = None,
    caption: Annotated[
        list[str] | None,
        typer.Option("--caption", help="Clusters of this caption, as 'red *'; may be repeated."),
    ] = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", help="Least confidence of a cluster, 0 to 1.")
    ] = 0.0,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="A file of a KEY or SHARD:KEY a line.")
    ] = None,
    not_keys: Annotated[
        Path | None, typer.Option("--not-keys", help="The same, of what is left out.")
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Keep one of each group of near-duplicates.")
    ] = False,
    above: Annotated[
        float | None, typer.Option("--above", help="Least cosine of duplicates, as in duplicates.")
    ] = None,
    samples_per_shard: Annotated[int, typer.Option("--samples-per-shard", min=1)] = 1000,
    prefix: Annotated[
        str, typer.Option("--prefix", help="What the names of shards begin with.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and write nothing.")] = False,
    device: DeviceFlag = "auto",
    progress: ProgressFlag = DEFAULT_PROGRESS,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Copy chosen samples into new tar shards, byte for byte as they were.

    A sample must meet every condition that is given; several clusters and captions are one
    condition. The shards appear when all of them are whole, with manifest.parquet, which says what
    went where. Pictures of folders and tables become samples as `pack` makes them.

    \b
      cpp-pipe curate --drop-duplicates --out shards/
      cpp-pipe curate --cluster 3,17 --min-confidence 0.5 --out shards/
      cpp-pipe curate --caption '*dog*' --drop-duplicates --above 0.98 --out dogs/
      cpp-pipe curate --not-keys outliers.txt --dry-run
    """
    from ..curation.selection import Wanted

    if out is None and not dry_run:
        raise ConfigError("--out names a new folder for the shards; --dry-run only counts")
    if above is not None and not drop_duplicates:
        raise ConfigError("--above says what duplicates are: it needs --drop-duplicates")
    wanted = Wanted(
        clusters=_numbers(cluster or []),
        captions=tuple(caption or []),
        min_confidence=min_confidence,
        keys=keys,
        not_keys=not_keys,
        is_deduplicated=drop_duplicates,
    )
    plan = open_plan(store, run, device=device, progress=progress)
    chosen, embeddings = _choose(plan, wanted, above)
    typer.echo(chosen.describe())
    if out is not None and not dry_run:
        _copy(plan, chosen, embeddings, out, samples_per_shard, prefix)


def _choose(plan: "Plan", wanted: "Wanted", above: float | None) -> "tuple[Chosen, Artifact]":
    from ..curation.near_duplicates import make_duplicates
    from ..curation.selection import choose

    def make(slot: str, is_needed: bool) -> Artifact | None:
        return plan.make(slot, asked_by="curate") if is_needed else None

    embeddings = plan.make("embeddings", asked_by="curate")
    assignments = make("assignments", wanted.asks_for_clusters)
    captions = make("captions", bool(wanted.captions))
    near = make_duplicates(plan, above, asked_by="curate") if wanted.is_deduplicated else None
    return choose(wanted, embeddings, assignments, captions, near), embeddings


def _copy(
    plan: "Plan",
    chosen: "Chosen",
    embeddings: Artifact,
    out: Path,
    samples_per_shard: int,
    prefix: str,
) -> None:
    from ..curation.shard_writer import MANIFEST, write_shards

    progress = plan.runtime.progress
    progress.start("curate", len(chosen.rows), "samples")
    made = write_shards(
        chosen.rows,
        embeddings,
        plan.store.runs.read(plan.run).sources,
        out,
        samples_per_shard=samples_per_shard,
        prefix=prefix,
        tell=progress.advance,
    )
    if made.links:
        say(f"{made.links:,} members are links, and were not copied")
    typer.echo(
        f"copied {made.samples:,} samples into {len(made.shards):,} shard(s) of {out}, "
        f"{made.bytes / 2**20:,.1f} MiB; {out / MANIFEST} says what went where"
    )
    typer.echo(f"next: cpp-pipe embed --shards {str(out)!r}")


def _numbers(texts: "Sequence[str]") -> tuple[int, ...]:
    try:
        return tuple(int(one) for text in texts for one in text.split(",") if one.strip())
    except ValueError as error:
        raise ConfigError(
            f"--cluster {' '.join(texts)!r} is not allowed: numbers with commas, as 3,17, are"
        ) from error
