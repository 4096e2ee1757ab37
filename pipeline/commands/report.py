"""The command that writes a run as a page: report."""

from pathlib import Path
from typing import Annotated

import typer

from ..destinations import PAGE, require_file
from .app import subcommands
from .options import LONG, READING, Common, LabelFlag, LabelsFlag, open_plan, say, takes
from .output import command_line, print_line

app = subcommands()


@app.command()
@takes("edits", *LONG, *READING)
def report(
    common: Common,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; STORE/reports/RUN.html if absent.")
    ] = None,
    label: LabelFlag = None,
    labels: LabelsFlag = None,
    has_images: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show images of each cluster.")
    ] = True,
) -> None:
    """Write a run as one HTML page.

    The page shows the clusters with images, how many clusters there are, and how certain that is.
    It is one file below 20 MB that needs no network. If captions, the curve of select-k or scores
    against labels are missing, it names the commands that add them. With --edits it shows clusters,
    names and tags as you decided, counts excluded images, and leaves them out everywhere else.
    Images that cannot be read are counted; where none can be read, no page is written unless
    --no-pictures asks for one without them. Embeddings that were imported have no images: then
    the page shows all the rest, such as sizes, captions, curves and scores.

    \b
      cpp-pipe report
      cpp-pipe report --run pets --out pets.html
      cpp-pipe report --labels labels.csv
      cpp-pipe report --edits final --out final.html
      cpp-pipe report --no-pictures
    """
    from ..report.file import write_report

    if out is not None:
        require_file(out, PAGE)
    plan = open_plan(common, data={"label": label})
    written = write_report(
        plan,
        out,
        labels=labels,
        must_score=label is not None or labels is not None,
        has_images=has_images,
        edits=common.edits,
    )
    # Only the page's path goes to stdout, so that a script can open it.
    print_line(written)
    say(f"next: {command_line(common, 'serve')}")
