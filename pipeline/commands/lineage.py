"""The command that shows what an artifact was made from: lineage."""

from typing import Annotated

import typer

from ...store import MissingError, Store
from ...store.kinds import KINDS
from ...store.slots import kind_of, split_slot
from ..wording import counted
from .app import subcommands
from .options import READING, Common, find_run, takes
from .output import print_json, print_next, print_text

app = subcommands()


@app.command()
@takes("as_json", *READING)
def lineage(
    common: Common,
    slot: Annotated[
        str, typer.Argument(help="An artifact that `cpp-pipe status` lists, such as captions.")
    ],
) -> None:
    """Show what an artifact was made from, back to the shards.

    Each line names a kind of artifact, its version, its rows, and the stage with the settings that
    made it; what it was made from follows, indented.

    \b
      cpp-pipe lineage captions
    """
    store = Store(common.store)
    run = find_run(store, common.run)
    versions = store.runs.read(run).versions
    if slot not in versions:
        held = ", ".join(versions) or "nothing"
        raise MissingError(f"run {run!r} holds no {slot!r}: name one of what it holds: {held}")
    tree = _lineage(store, split_slot(slot)[0], versions[slot])
    if common.as_json:
        print_json(tree)
    else:
        _print_lineage(tree, 0, set())
    print_next(common, ["status"], result=store.folder(kind_of(slot), versions[slot]))


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


def _print_lineage(tree: dict, depth: int, printed: set[str]) -> None:
    """Prints an artifact and its inputs, indented; of one printed before only the name."""
    name = f"{'  ' * depth}{tree['kind']} {tree['version']}"
    if tree["version"] in printed:
        print_text(f"{name}, see above")
        return
    printed.add(tree["version"])
    config = ", ".join(f"{key}={value}" for key, value in tree["config"].items())
    print_text(f"{name}: {counted(tree['rows'], 'row')} by {tree['stage']}({config})")
    for used in tree["inputs"]:
        _print_lineage(used, depth + 1, printed)
