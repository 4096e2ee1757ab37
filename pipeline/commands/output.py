"""What commands print: tables, JSON, and lines with the result and the next command."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...store import ConfigError
from ...store.files import naming
from ..command_line import command_line as line_of
from ..destinations import SHEET, TABLE, require_file, require_no_input
from ..making.engines import torchrun
from ..wording import columns_of, in_one_line, is_cut_to, printable, wrap
from .messages import clear_line, say
from .options import Common

if TYPE_CHECKING:
    from ..making.plan import Plan

OutFlag = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write the whole table to this .parquet, .csv or .jsonl."
    ),
]
SheetFlag = Annotated[
    Path | None, typer.Option("--sheet", help="Draw the listed images into this image file.")
]

_GAP = "  "

_LEAST = 8
"""Characters that remain of a name that is cut."""


@dataclass(frozen=True)
class Column:
    """A column of a printed table."""

    name: str
    is_right: bool = False
    """Whether values are aligned at the right, like numbers."""
    is_cut: bool = False
    """Whether values may be cut in the middle, so that the table fits the terminal."""
    is_name: bool = False
    """The same as `is_cut`, for keys and names that users copy: in a pipe they are whole."""


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Prints a line of headings and a line for each row, as wide as the terminal at most.

    In a pipe or a file, names are printed whole, unless COLUMNS limits the width.
    """
    rows = [[in_one_line(value) for value in row] for row in rows]
    widths = [
        max(len(value) for value in (column.name, *values))
        for column, *values in zip(columns, *rows, strict=True)
    ]
    whole = list(widths)
    _fit(widths, columns, columns_of(sys.stdout))
    if not is_cut_to(sys.stdout):
        widths = [
            full if column.is_name else width
            for column, full, width in zip(columns, whole, widths, strict=True)
        ]
    for row in ([column.name for column in columns], *rows):
        cells = [cut_middle(value, width) for value, width in zip(row, widths, strict=True)]
        line = _GAP.join(
            cell.rjust(width) if column.is_right else cell.ljust(width)
            for column, cell, width in zip(columns, cells, widths, strict=True)
        )
        print_line(line.rstrip())


def _fit(widths: list[int], columns: Sequence[Column], most: int) -> None:
    """Narrows the columns that may be cut, the widest first, until a line is short enough."""
    cut = [number for number, column in enumerate(columns) if column.is_cut or column.is_name]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - most
    while cut and excess > 0:
        widest = max(cut, key=lambda number: widths[number])
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1
        excess -= 1


def cut_middle(text: str, width: int) -> str:
    """A text of at most `width` characters, with `…` in place of its middle."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def print_text(text: str) -> None:
    """Prints sentences, wrapped to the width of the terminal."""
    print_line(wrap(text, columns_of(sys.stdout)))


def print_line(text: str) -> None:
    """Prints a line without wrapping it, such as a path or a command."""
    clear_line()
    with naming("the output"):
        typer.echo(printable(text))


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    print_line(json.dumps(value, indent=1))


def print_next(common: Common, *steps: str | Sequence[str], result: object = None) -> None:
    """Ends a command: prints where its result is, and which commands may come next.

    A step is a command of cpp-pipe as words, which get the flags --run and --store of this command,
    or a line. With --json this goes to stderr, so that stdout is only JSON.
    """
    # A path stays on one line, a sentence need not.
    where = wrap(f"result: {result}", columns_of(sys.stdout)) if isinstance(result, str) else ""
    lines = [] if result is None else [where or f"result: {result}"]
    for number, step in enumerate(steps):
        line = step if isinstance(step, str) else command_line(common, *step)
        lines.append(f"{'next:' if number == 0 else '     '} {line}")
    for line in lines:
        if common.as_json:
            say(line)
        elif torchrun.rank() == 0:
            print_line(line)


def narrowing(common: Common) -> list[str]:
    """The flags --edits and --where of a command, so that the next one sees the same images."""
    edits = [] if common.edits is None else ["--edits", common.edits]
    return edits + [word for text in common.where or () for word in ("--where", text)]


def command_line(common: Common, *words: str) -> str:
    """A shell command with the flags --run and --store of another command."""
    return line_of(*words, run=common.run, store=common.store)


def check_inputs(
    plan: "Plan", out: Path | None, sheet: Path | None = None, read: Iterable[str | Path] = ()
) -> None:
    """ConfigError where a table or a sheet would replace a file that the command or its run reads.

    `read` names those of the command.
    """
    for path, flag in ((out, "--out"), (sheet, "--sheet")):
        if path is not None:
            sources = plan.store.runs.read(plan.run).sources
            require_no_input(path, [*sources.values(), *read], flag=flag)


def check_destinations(out: Path | None, sheet: Path | None) -> None:
    """ConfigError if the file of a table or of a sheet cannot be written."""
    if out is not None:
        require_file(out, TABLE)
    if sheet is not None:
        require_file(sheet, tuple(SHEET), flag="--sheet")
        if not sheet.absolute().parent.is_dir():
            raise ConfigError(f"--sheet {sheet} cannot be written: there is no such folder")
