"""The command that checks the installation: doctor."""

import json

import typer

from .app import subcommands
from .options import JsonFlag

app = subcommands()


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
