"""The command that computes eigenvectors: spectrum."""

from typing import Annotated

import typer

from ..wording import counted
from .app import subcommands
from .options import CLUSTER, MAKING, Common, open_plan, takes
from .output import print_next, print_text

app = subcommands()


@app.command()
@takes(*CLUSTER, *MAKING)
def spectrum(
    common: Common,
    landmarks: Annotated[
        int | None,
        typer.Option(
            "--landmarks", min=2, help="Maximum number of landmarks: rows that represent all rows."
        ),
    ] = None,
    affinity: Annotated[
        str | None,
        typer.Option(
            "--affinity",
            help="Similarity of landmarks: auto, consensus, or membership (the paper's).",
        ),
    ] = None,
    clusterings: Annotated[
        int | None,
        typer.Option("--clusterings", min=1, help="Number of clusterings in the consensus."),
    ] = None,
    k_max: Annotated[
        int | None,
        typer.Option(
            "--k-max", min=0, help="Maximum number of clusters; 0 chooses by the number of rows."
        ),
    ] = None,
) -> None:
    """Compute the eigenvectors that clustering uses.

    They are the eigenvectors of the similarities between landmarks: rows that represent all rows,
    drawn so that rare groups are represented.

    \b
      cpp-pipe spectrum --landmarks 10000 --k-max 300
      cpp-pipe spectrum --affinity membership
    """
    flags = {
        "landmarks": landmarks,
        "affinity": affinity,
        "clusterings": clusterings,
        "k_max": k_max,
    }
    artifact = open_plan(common, spectrum=flags).make("spectrum")
    print_text(
        f"{counted(artifact.rows, 'landmark')} for "
        f"{counted(artifact.facts['rows_in_all'], 'row')}, linked by "
        f"{artifact.facts['affinity']}, up to {counted(artifact.facts['k_max'], 'cluster')}"
    )
    print_next(common, ["select-k"], result=artifact.folder)
