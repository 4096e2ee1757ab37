"""The command that checks the files of a store: verify."""

from typing import Annotated

import typer

from ..wording import agreeing, counted
from .app import subcommands
from .messages import current_progress, say
from .options import LONG, Common, open_store, takes
from .output import print_next, print_text

app = subcommands()


@app.command()
@takes(*LONG, "store")
def verify(
    common: Common,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare only the sizes of files; takes seconds.")
    ] = False,
) -> None:
    """Read every byte of the store, and name each damaged file.

    The exit code is 1 if a file is damaged.

    \b
      cpp-pipe verify
      cpp-pipe verify --quick
    """
    from ...store.upkeep import verify as verify_artifact
    from ...store.upkeep import verify_runs

    store = open_store(common)
    artifacts = store.artifacts()
    faults = []
    progress = current_progress()
    progress.start("verify", len(artifacts), "artifacts")
    for artifact in artifacts:
        faults += verify_artifact(artifact, is_quick=quick)
        progress.advance(1)
    progress.end()
    faults += verify_runs(store)
    for fault in faults:
        print_text(f"{fault.path} {fault.what}")
    if faults:
        say(
            f"{counted(len(faults), 'fault')}: restore these files, or remove the folders of their "
            "versions and run the commands again"
        )
        raise typer.Exit(1)
    whole = f"{counted(len(artifacts), 'artifact')} {agreeing(len(artifacts), 'is', 'are')} intact"
    print_text(f"{whole} (file sizes only)" if quick else whole)
    print_next(common, ["status"])
