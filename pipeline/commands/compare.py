"""The command that compares runs: compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..destinations import require_file, require_no_input
from .app import subcommands
from .messages import say, show_progress
from .options import LONG, Common, LabelFlag, LabelsFlag, open_store, takes
from .output import Column, print_json, print_line, print_next, print_table, print_text

if TYPE_CHECKING:
    from ..comparison.comparison import Comparison

_ACROSS = 10
"""Columns of the matrix of agreement in a line of 80 characters."""

_LABEL = 17
"""Characters of a group's label that fit beside its scores; longer ones are listed first."""

RivalsFlag = Annotated[
    bool,
    typer.Option(
        "--rivals",
        help="Also cluster the embeddings by k-means, Ward, spectral, HDBSCAN and, if installed, "
        "UMAP with HDBSCAN, and EVoC.",
    ),
]
OutsFlag = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the comparison as .csv, .md, .tex, .html, .json or .parquet; repeatable.",
    ),
]

app = subcommands()


@app.command()
@takes("as_json", "device", *LONG, "store")
def compare(
    common: Common,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs of the store.")],
    rivals: RivalsFlag = False,
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            min=1,
            help="Clusters that rivals make; by default one a class, without labels the runs' k.",
        ),
    ] = None,
    label: LabelFlag = None,
    labels: LabelsFlag = None,
    outs: OutsFlag = None,
) -> None:
    """Compare runs: scores, agreement, settings that differ.

    Runs that differ only in their seeds share a line, with the mean and the standard deviation.
    k is the number of clusters. ACC, NMI and ARI need labels. conf. is the mean confidence, and s
    the seconds of all steps after the embeddings. Agreement is the ARI between the clusters of two
    runs, over the images that both hold, by their keys. Clusters that a run lacks are made.

    \b
      cpp-pipe compare pets-vit pets-dino
      cpp-pipe compare pets-a pets-b --rivals
      cpp-pipe compare pets-a pets-b --out table.tex --out table.html
    """
    from ..comparison.run_comparison import require_distinct

    require_distinct(runs)
    check_outs(outs, labels)
    compare_and_show(common, runs, rivals=rivals, k=k, label=label, labels=labels, outs=outs)
    if not outs:
        given = {"--k": k, "--label": label, "--labels": labels}
        words = ["--rivals"] if rivals else []
        words += [word for flag, value in given.items() if value is not None
                  for word in (flag, str(value))]  # fmt: skip
        print_next(common, ["compare", *runs, *words, "--out", "table.tex"])


def check_outs(outs: Sequence[Path] | None, labels: Path | None) -> None:
    """ConfigError where a file for the comparison cannot be written."""
    from ..comparison.result import SUFFIXES

    for out in outs or ():
        require_file(out, tuple(SUFFIXES))
        require_no_input(out, [] if labels is None else [labels])


def compare_and_show(
    common: Common,
    runs: Sequence[str],
    *,
    rivals: bool,
    k: int | None,
    label: str | None,
    labels: Path | None,
    outs: Sequence[Path] | None,
) -> None:
    """Compares runs, prints the comparison, and writes it into the files that the user asks for.

    It is printed first: what took hours is not lost where a file cannot be written.
    """
    from ...stages.contract import Runtime
    from ..comparison.result import ComparedRuns
    from ..comparison.run_comparison import compare_runs

    progress = show_progress(common.progress, common.log_file)
    compared = ComparedRuns(
        compare_runs(
            open_store(common),
            runs,
            Runtime(device=common.device, progress=progress),
            say,
            label=label,
            labels=labels,
            rivals=rivals,
            k=k,
        )
    )
    print_comparison(common, compared.comparison)
    for out in outs or ():
        compared.save(out)
        say(f"wrote {out}")


def print_comparison(common: Common, comparison: "Comparison") -> None:
    """Prints the tables of a comparison, or its JSON."""
    if common.as_json:
        print_json(comparison.to_json())
        return
    from ..comparison.cells import describe

    print_text(describe(comparison))
    labels = [group.label for group in comparison.groups]
    names = [f"{number} {label}" for number, label in enumerate(labels, 1)]
    if max(map(len, names)) > _LABEL:
        for name in names:
            print_text(f"  {name}")
        names = [name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…" for name in names]
    _print_scores(comparison, names)
    _print_settings(comparison, names)
    if len(comparison.groups) > 1:
        _print_agreement(comparison, names)
    for note in comparison.notes:
        print_text(f"note: {note}")


def _print_scores(comparison: "Comparison", names: Sequence[str]) -> None:
    from ..comparison.cells import cells_of, columns_of, repetitions

    columns = columns_of(comparison)
    cells = [cells_of(comparison, column) for column in columns]
    titles = [Column(column.title, is_right=True) for column in columns]
    rows = zip(*cells, strict=True)
    print_table(
        [Column("", is_cut=True), Column("runs", is_right=True), *titles],
        [
            (
                name,
                runs,
                # ".012" and not "0.012", so that the line fits.
                *("-" if c is None else f"{c.mean}±{c.spread.lstrip('0')}" if c.spread else c.mean
                  for c in row),
            )
            for name, runs, row in zip(names, repetitions(comparison), rows, strict=True)
        ],
    )  # fmt: skip


def _print_settings(comparison: "Comparison", names: Sequence[str]) -> None:
    """The settings that differ, where the labels of the groups do not say them."""
    groups = [group for group in comparison.groups if not group.is_rival]
    if all("=" in group.label for group in groups) or not comparison.settings:
        return
    print_line("settings that differ:")
    print_table(
        [Column(""), Column("setting", is_cut=True), Column("value", is_cut=True)],
        [
            (f"  {names[number]}", setting, values[number])
            for number in range(len(groups))
            for setting, values in comparison.settings.items()
        ],
    )


def _print_agreement(comparison: "Comparison", names: Sequence[str]) -> None:
    """The matrix of agreement below its diagonal, a few columns at a time."""
    from ..comparison.cells import AGREEMENT, agreement_cells

    print_line(f"{AGREEMENT}:")
    cells = [agreement_cells(row) for row in comparison.agreement]
    for first in range(0, len(names), _ACROSS):
        numbers = range(first, min(first + _ACROSS, len(names)))
        print_table(
            [Column("", is_cut=True), *(Column(f"{n + 1:4}", is_right=True) for n in numbers)],
            [
                (names[row], *(cells[row][n] if n <= row else "" for n in numbers))
                for row in range(numbers[0], len(names))
            ],
        )
