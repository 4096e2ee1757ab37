"""The command that removes what no run refers to: gc."""

from typing import Annotated

import typer

from ...store import Store
from .app import subcommands
from .options import DEFAULT_STORE, StoreFlag

app = subcommands()


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
