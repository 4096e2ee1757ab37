"""The command that lists samples that were not embedded: skipped."""

from typing import Annotated

import typer

from ...store import ConfigError, Store
from ..run import Run
from ..view.skipped import count_skipped, read_skipped
from ..wording import counted
from .app import subcommands
from .options import READING, Common, find_run, takes
from .output import Column, print_json, print_next, print_table, print_text

_LISTED = 20
"""Samples that a table lists without -n."""

app = subcommands()


@app.command()
@takes("as_json", *READING)
def skipped(
    common: Common,
    reason: Annotated[
        str | None,
        typer.Option("--reason", help="List only samples that were skipped for this reason."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, help=f"Number of samples to list; if absent {_LISTED}, in JSON all."
        ),
    ] = None,
) -> None:
    """List the samples that were not embedded, with reasons.

    \b
      cpp-pipe skipped
      cpp-pipe skipped --reason undecodable -n 100
      cpp-pipe skipped --json
    """
    store = Store(common.store)
    embeddings = Run.open(store, find_run(store, common.run)).artifact("embeddings")
    counts = count_skipped(embeddings)
    if reason is not None and reason not in counts:
        raise ConfigError(
            f"--reason {reason!r}: nothing was skipped for this reason; the reasons are: "
            f"{', '.join(counts) or 'none'}"
        )
    total = counts.total() if reason is None else counts[reason]
    if common.as_json:
        rows = list(read_skipped(embeddings, reason, limit=n))
        print_json({"total": total, "reasons": dict(counts.most_common()), "rows": rows})
    else:
        seen = sum(part.facts["seen"] for part in embeddings.parts)
        print_text(f"skipped {counts.total():,} of {counted(seen, 'sample')}")
        for name, count in counts.most_common():
            print_text(f"{count:>9,}  {name}")
        _print_rows(list(read_skipped(embeddings, reason, limit=n or _LISTED)), total)
    print_next(common, ["status"])


def _print_rows(rows: list[dict], total: int) -> None:
    if not rows:
        return
    print_text("")
    print_table(
        [
            Column("shard", is_name=True),
            Column("key", is_name=True),
            Column("reason"),
            Column("detail", is_cut=True),
        ],
        [
            (row["shard"], row["key"], row["reason"], " ".join(row["detail"].split()))
            for row in rows
        ],
    )
    if total > len(rows):
        print_text(f"and {total - len(rows):,} more: -n lists more, --json all")
