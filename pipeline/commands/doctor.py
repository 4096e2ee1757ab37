"""The command that checks the installation: doctor."""

import typer

from .app import subcommands
from .options import Common, takes
from .output import print_json, print_next, print_text

app = subcommands()


@app.command()
@takes("as_json")
def doctor(common: Common) -> None:
    """Report versions, devices and faults of the installation.

    The exit code is 1 if there is a fault.

    \b
      cpp-pipe doctor
    """
    from ..doctor import examine

    examination = examine()
    if common.as_json:
        print_json(examination.to_json())
    else:
        for name, value in examination.facts.items():
            print_text(f"{name:<16} {value}")
        for fault in examination.faults:
            print_text(f"FAULT: {fault}")
        if not examination.faults:
            print_text("no faults found")
    if examination.faults:
        raise typer.Exit(1)
    # `doctor` takes no --store, so the next command gets none.
    print_next(common, "cpp-pipe demo")
