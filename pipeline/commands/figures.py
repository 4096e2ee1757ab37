"""The command that draws a run as figures for print: figures."""

from pathlib import Path
from typing import Annotated

import typer

from ...store import ConfigError, MissingError
from .app import subcommands
from .options import LONG, READING, Common, open_plan, say, takes
from .output import print_line, print_next
from .search import open_run

app = subcommands()


@app.command()
@takes(*LONG, *READING)
def figures(
    common: Common,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write the figures into this folder; STORE/figures/RUN if absent."
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option("--format", help="Formats: svg, pdf and png, or some of them, with commas."),
    ] = "svg,pdf,png",
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="Draw only this figure, see above; repeatable.",
        ),
    ] = None,
) -> None:
    """Draw a run as figures for print: SVG, PDF or PNG.

    \b
      cosines          |cosine| of images by cluster, before and after refining
      singular-values  of all images and of clusters, before and after
      k-curve          the length of the code by the number of clusters
      clusters         captions and the most confident images of clusters
      neighbours       nearest images, before and after; other clusters framed

    Colour-blind readers can tell the colours apart. A figure that the run lacks data for is left
    out, with the reason. Files of the same names are replaced.

    \b
      cpp-pipe figures
      cpp-pipe figures --run pets --out paper/figures --format pdf
      cpp-pipe figures --only cosines --only k-curve
    """
    from ..report.print_figures import FIGURES, draw_figures, encode_figure, require_figures

    suffixes = _suffixes(formats)
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file: name a folder")
    names = list(dict.fromkeys(only)) if only else list(FIGURES)
    require_figures(names)
    plan = open_plan(common)
    plan.make("assignments", asked_by="figures")
    drawers = draw_figures(open_run(plan), names, plan.runtime.progress)
    where = "" if out is None else str(out)
    for name, draw in drawers.items():
        try:
            figure = draw()
        except MissingError as error:
            if only:
                raise
            say(f"{name} is left out: {error}")
            continue
        for suffix in suffixes:
            content = encode_figure(figure, suffix)
            if out is None:
                path = plan.store.write(f"figures/{plan.run}/{name}.{suffix}", content)
                where = str(path.parent)
            else:
                path = _write(out / f"{name}.{suffix}", content)
            print_line(str(path))
    print_next(common, ["report"], result=where or "none")


def _suffixes(formats: str) -> list[str]:
    from ..report.print_figures import FORMATS

    suffixes = [suffix.strip().lower().lstrip(".") for suffix in formats.split(",")]
    unknown = [suffix for suffix in suffixes if suffix not in FORMATS]
    if unknown:
        raise ConfigError(f"--format must be {', '.join(FORMATS)}, got {unknown[0]!r}")
    return list(dict.fromkeys(suffixes))


def _write(path: Path, content: bytes) -> Path:
    from ..curation.files import whole_file

    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    return path
