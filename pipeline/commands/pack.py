"""The command that makes tar shards: pack."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ...stages.sources.ignored_files import describe_left_out
from ..destinations import require_folder, require_prefix
from ..wording import counted
from .app import subcommands
from .messages import SHOWN, current_progress, say_skipped
from .options import LONG, Common, say, takes
from .output import print_next, print_text

app = subcommands()


@app.command()
@takes(*LONG)
def pack(
    common: Common,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of images.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the shards.")],
    shard_size: Annotated[
        int, typer.Option("--shard-size", min=1, help="Maximum number of images in a shard.")
    ] = 1000,
    prefix: Annotated[str, typer.Option("--prefix", help="Start of the names of the shards.")] = "",
) -> None:
    """Write the images of a folder into tar shards.

    All folders below it are included. Files are copied byte for byte: images, and the captions
    (.txt), fields (.json) and labels (.cls) next to them. The key of an image is its path without
    the suffix, with underscores for dots and spaces. If images would share a key, all but the first
    get a number, and are listed.

    \b
      cpp-pipe pack photos/ shards/
      cpp-pipe pack photos/ shards/ --shard-size 5000 --prefix holidays-
    """
    from ...stages.sources.tar.writer import pack_folder

    require_folder(out, flag="OUT")
    require_prefix(prefix)
    progress = current_progress()

    def report(done: int, total: int) -> None:
        if done == 1:
            progress.start("pack", total, "images")
        progress.advance(1)

    packed = pack_folder(folder, out, shard_size=shard_size, prefix=prefix, report=report)
    for path, key in packed.renamed[:SHOWN]:
        say(f"{path} gets the key {key}: another image has the same name")
    if len(packed.renamed) > SHOWN:
        say(f"and {len(packed.renamed) - SHOWN:,} more get a key with a number")
    say_skipped(packed.skipped)
    seen = packed.images + len(packed.skipped)
    print_text(
        f"seen {seen:,} = packed {packed.images:,} + skipped {len(packed.skipped):,}, in "
        f"{counted(len(packed.shards), 'shard')}"
    )
    if packed.left_out:
        print_text(describe_left_out(packed.left_out))
    # `run` takes a run of its own; `embed` would put these images into the default run.
    step = f"cpp-pipe run --shards {shlex.quote(str(out))}"
    print_next(Common(), f"{step}   # --model and --pretrained name a model", result=out)
