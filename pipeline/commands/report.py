"""The command that draws a run: report."""

from pathlib import Path
from typing import Annotated

import typer

from ...store import ConfigError
from ...store.files import write_whole
from ..run import Run
from .app import subcommands
from .options import DEFAULT_RUN, DEFAULT_STORE, RunFlag, StoreFlag, open_plan, say

app = subcommands()


@app.command()
def report(
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; STORE/reports/RUN.html if absent.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="cls, or the name of a JSON field.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A .csv or .parquet of key and label.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show members of clusters.")
    ] = True,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Draw a run as one page: clusters, how many, and how sure.

    The page is one file below 20 MB that needs no network. It shows what the run holds, and says
    which commands would add captions, the curve of coding lengths, or scores against labels.

    \b
      cpp-pipe report
      cpp-pipe report --run pets --out pets.html
      cpp-pipe report --labels labels.csv
      cpp-pipe report --no-pictures
    """
    from ..report.page import write_page
    from ..report.reader import read_contents

    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file, as --out {out / 'report.html'}")
    plan = open_plan(store, run, data={"label": label})
    plan.make("assignments", asked_by="report")
    must_score = label is not None or labels is not None
    say("report: gathering counts and samples")
    contents = read_contents(
        Run.open(plan.store, run),
        plan.settings.data.label,
        labels,
        must_score=must_score,
        progress=plan.runtime.progress if pictures else None,
    )
    # What UTF-8 cannot hold, as half a pair of a label in JSON, becomes a question mark.
    page = write_page(contents).encode(errors="replace")
    if out is None:
        typer.echo(str(plan.store.write(f"reports/{run}.html", page)))
        return
    try:
        write_whole(out, page)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}") from error
    typer.echo(str(out))
