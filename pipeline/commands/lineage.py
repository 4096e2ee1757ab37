"""The command that shows what an artifact was made from: lineage."""

import json
from typing import Annotated

import typer

from ...store import MissingError, Store
from ...store.kinds import KINDS
from ...store.runs import split_slot
from .app import subcommands
from .options import DEFAULT_RUN, DEFAULT_STORE, JsonFlag, RunFlag, StoreFlag

app = subcommands()


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
    tree = _lineage(opened, split_slot(slot)[0], versions[slot])
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
