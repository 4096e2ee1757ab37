"""The command that checks every byte of a store: verify."""

import typer

from .app import subcommands
from .options import Common, open_store, takes
from .output import print_next

app = subcommands()


@app.command()
@takes("store")
def verify(common: Common) -> None:
    """Read every byte of the store, and name each damaged file.

    Ends with exit code 1 where a file is damaged.

    \b
      cpp-pipe verify
    """
    from ...store.upkeep import verify as verify_artifact
    from ...store.upkeep import verify_runs

    store = open_store(common)
    artifacts = store.artifacts()
    faults = [fault for artifact in artifacts for fault in verify_artifact(artifact)]
    faults += verify_runs(store)
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
    print_next(common, ["status"])
