"""The command that checks every byte of a store: verify."""

import typer

from ...store import Store
from .app import subcommands
from .options import DEFAULT_STORE, StoreFlag

app = subcommands()


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
