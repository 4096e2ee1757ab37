"""The command that lists what runs hold: status."""

import json
from typing import Annotated

import typer

from ...store import Store
from ...store.runs import kind_of, sorted_slots
from .app import subcommands
from .options import DEFAULT_STORE, JsonFlag, StoreFlag

app = subcommands()


@app.command()
def status(
    run: Annotated[str | None, typer.Option("--run", help="One run; all if absent.")] = None,
    as_json: JsonFlag = False,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """List what the runs of a store hold, and what is half done.

    \b
      cpp-pipe status
    """
    opened = Store(store)
    names = [run] if run else opened.runs.names()
    if not names:
        typer.echo(f"the store {store} is empty: `cpp-pipe embed --shards ...` begins a run")
        return
    told = {name: _run_status(opened, name) for name in names}
    if as_json:
        typer.echo(json.dumps(told, indent=1))
        return
    for name, rows in told.items():
        typer.echo(f"run {name}")
        typer.echo(f"  {'what':<20} {'version':<16}  {'rows':>12}  {'MiB':>9}  made")
        for row in rows:
            size = "-" if row["bytes"] is None else f"{row['bytes'] / 2**20:,.1f}"
            count = "-" if row["rows"] is None else f"{row['rows']:,}"
            typer.echo(
                f"  {row['slot']:<20} {row['version']:<16}  {count:>12}  {size:>9}  {row['state']}"
            )


def _run_status(store: Store, name: str) -> list[dict]:
    record = store.runs.read(name)
    rows = []
    for slot, version in record.versions.items():
        found = store.find(kind_of(slot), version)
        rows.append(
            {
                "slot": slot,
                "version": version,
                "rows": found.rows if found else None,
                "bytes": found.manifest.bytes if found else None,
                "state": found.manifest.made_by["date"] if found else "missing",
                "content": found.content if found else None,
            }
        )
    for slot, version in record.making.items():
        rows.append(
            {
                "slot": slot,
                "version": version,
                "rows": None,
                "bytes": None,
                "state": "half done: the same command goes on",
                "content": None,
            }
        )
    order = sorted_slots({*record.versions, *record.making})
    return sorted(rows, key=lambda row: order.index(row["slot"]))
