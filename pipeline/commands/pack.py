"""The command that makes tar shards: pack."""

from pathlib import Path
from typing import Annotated

import typer

from ..making.progress import ProgressLine
from .app import subcommands
from .options import say

app = subcommands()

_SHOWN = 5
"""Pictures that are named one by one."""


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the shards.")],
    shard_size: Annotated[
        int, typer.Option("--shard-size", min=1, help="Pictures in a shard.")
    ] = 1000,
    prefix: Annotated[
        str, typer.Option("--prefix", help="What the names of shards begin with.")
    ] = "",
) -> None:
    """Make tar shards of a folder of pictures, with all folders below it.

    Bytes are copied as they are, and so are captions (.txt), fields (.json) and labels (.cls)
    beside a picture. Its key is its path without the suffix, with dots and blanks as underscores;
    of pictures that would have one key all but the first get a number, and are named.

    \b
      cpp-pipe pack photos/ shards/
      cpp-pipe pack photos/ shards/ --shard-size 5000 --prefix holidays-
    """
    from ...stages.sources.tar.writer import pack_folder

    progress = ProgressLine()
    progress.start("pack", 0, "images")

    def tell(done: int, total: int) -> None:
        progress.revise(total)
        progress.advance(1)

    try:
        packed = pack_folder(folder, out, shard_size=shard_size, prefix=prefix, report=tell)
    finally:
        progress.close()
    for path, key in packed.renamed[:_SHOWN]:
        say(f"{path} has the key {key}, as another picture has its own")
    if len(packed.renamed) > _SHOWN:
        say(f"and {len(packed.renamed) - _SHOWN:,} more have keys with a number")
    for path, reason, detail in packed.skipped[:_SHOWN]:
        say(f"{path} is left out: {reason}, {detail}")
    if len(packed.skipped) > _SHOWN:
        say(f"and {len(packed.skipped) - _SHOWN:,} more are left out")
    seen = packed.images + len(packed.skipped)
    typer.echo(
        f"seen {seen:,} = packed {packed.images:,} + skipped {len(packed.skipped):,}, in "
        f"{len(packed.shards):,} shard(s)"
    )
    typer.echo(f"next: cpp-pipe embed --shards {str(out)!r}")
