"""Commands that look after a store, and after the installation."""

import json
from typing import Annotated

import typer

from ...store import MissingError, Store
from ...store.kinds import KINDS
from .app import subcommands
from .options import DEFAULT_RUN, DEFAULT_STORE, JsonFlag, RunFlag, StoreFlag

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
    order = {kind: number for number, kind in enumerate(KINDS)}
    rows = []
    for slot, version in record.versions.items():
        found = store.find(KINDS[slot.partition("/")[0]], version)
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
    return sorted(rows, key=lambda row: (order[row["slot"].partition("/")[0]], row["slot"]))


@app.command()
def lineage(
    slot: Annotated[str, typer.Argument(help="What to explain, as captions or index/features.")],
    as_json: JsonFlag = False,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Tell what an artifact was made from, back to the shards.

    \b
      cpp-pipe lineage captions
    """
    opened = Store(store)
    versions = opened.runs.read(run).versions
    if slot not in versions:
        there = ", ".join(versions) or "nothing"
        raise MissingError(f"run {run!r} holds no {slot!r}, it holds {there}")
    tree = _lineage(opened, slot.partition("/")[0], versions[slot])
    if as_json:
        typer.echo(json.dumps(tree, indent=1))
    else:
        _print_lineage(tree, 0)


def _lineage(store: Store, kind: str, version: str) -> dict:
    manifest = store.open(KINDS[kind], version).manifest
    return {
        "kind": kind,
        "version": version,
        "stage": manifest.stage,
        "revision": manifest.revision,
        "config": dict(manifest.config),
        "content": manifest.content,
        "rows": manifest.rows,
        "parts": [part.name for part in manifest.parts],
        "made_by": dict(manifest.made_by),
        "inputs": [_lineage(store, used.kind, used.version) for used in manifest.inputs.values()],
    }


def _print_lineage(tree: dict, depth: int) -> None:
    config = ", ".join(f"{key}={value}" for key, value in tree["config"].items())
    typer.echo(
        f"{'  ' * depth}{tree['kind']} {tree['version']}: {tree['rows']:,} rows by "
        f"{tree['stage']}({config})"
    )
    for one in tree["inputs"]:
        _print_lineage(one, depth + 1)


@app.command()
def verify(store: StoreFlag = DEFAULT_STORE) -> None:
    """Read every byte of the store, and name each file that was damaged.

    \b
      cpp-pipe verify
    """
    from ...store.upkeep import verify as verify_artifact

    artifacts = Store(store).artifacts()
    faults = [fault for artifact in artifacts for fault in verify_artifact(artifact)]
    for fault in faults:
        typer.echo(f"{fault.path} {fault.what}")
    if faults:
        typer.echo(
            f"{len(faults)} fault(s): restore these files, or remove the folders of their versions "
            "and run the commands again",
            err=True,
        )
        raise typer.Exit(1)
    typer.echo(f"{len(artifacts)} artifacts are whole")


@app.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only list.")] = False,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """List, or remove, what no run refers to.

    \b
      cpp-pipe gc
      cpp-pipe gc --yes
    """
    from ...store.upkeep import collect, find_garbage

    opened = Store(store)
    garbage = collect(opened) if yes else find_garbage(opened)
    for one in garbage:
        typer.echo(f"{one.path}  {one.bytes / 2**20:,.1f} MiB  {one.what}")
    done = "removed" if yes else "to be removed (gc --yes)"
    total = sum(one.bytes for one in garbage)
    typer.echo(f"{len(garbage)} {done}, {total / 2**20:,.1f} MiB")


@app.command()
def doctor(as_json: JsonFlag = False) -> None:
    """Tell versions, devices and faults of the installation.

    \b
      cpp-pipe doctor
    """
    from ..doctor import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        for name, value in found.facts.items():
            typer.echo(f"{name:<16} {value}")
        for fault in found.faults:
            typer.echo(f"FAULT: {fault}")
        if not found.faults:
            typer.echo("nothing is wrong")
    if found.faults:
        raise typer.Exit(1)
