"""The command that removes data that no run uses: gc."""

from typing import Annotated

import typer

from ..wording import counted
from .app import subcommands
from .options import LONG, Common, open_store, takes
from .output import print_next, print_text

app = subcommands()


@app.command()
@takes(*LONG, "store")
def gc(
    common: Common,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove the data; without it, only list.")
    ] = False,
) -> None:
    """List, or remove, data that no run uses.

    That is artifacts that no run holds or needs, and temporary files that no command writes to.

    \b
      cpp-pipe gc
      cpp-pipe gc --yes
    """
    from ...store.upkeep import collect, find_garbage

    store = open_store(common)
    garbage = collect(store) if yes else find_garbage(store)
    for piece in garbage:
        print_text(f"{piece.path}  {piece.bytes / 2**20:,.1f} MiB  {piece.what}")
    done = "removed" if yes else "to be removed (gc --yes)"
    total = sum(piece.bytes for piece in garbage)
    print_text(f"{counted(len(garbage), 'item')} {done}, {total / 2**20:,.1f} MiB")
    print_next(common, ["gc", "--yes"] if garbage and not yes else ["status"])
