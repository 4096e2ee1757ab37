"""What commands write: tables, JSON, files, and the line that says what comes next."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...store import ConfigError
from ..making.engines import torchrun
from .options import DEFAULT_RUN, DEFAULT_STORE, STORE_VARIABLE, Common, say

if TYPE_CHECKING:
    import pyarrow as pa

OutFlag = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.parquet", help="Write the whole table.")
]
SheetFlag = Annotated[
    Path | None, typer.Option("--sheet", help="Draw the listed images into this file.")
]

_COLUMNS = 80
"""Width of a table where the output is not a terminal."""

_GAP = "  "

_LEAST = 8
"""Characters that remain of a name that is cut."""


@dataclass(frozen=True)
class Column:
    """A column of a printed table."""

    name: str
    is_right: bool = False
    """Whether values stand at the right, as numbers do."""
    is_cut: bool = False
    """Whether values may be cut in the middle, so that the table fits the terminal."""


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Prints a line of headings and a line for each row, as wide as the terminal at most."""
    rows = list(rows)
    widths = [
        max(len(value) for value in (column.name, *values))
        for column, *values in zip(columns, *rows, strict=True)
    ]
    _fit(widths, columns, shutil.get_terminal_size((_COLUMNS, 0)).columns)
    for row in ([column.name for column in columns], *rows):
        cells = [cut_middle(value, width) for value, width in zip(row, widths, strict=True)]
        line = _GAP.join(
            cell.rjust(width) if column.is_right else cell.ljust(width)
            for column, cell, width in zip(columns, cells, widths, strict=True)
        )
        typer.echo(line.rstrip())


def _fit(widths: list[int], columns: Sequence[Column], most: int) -> None:
    """Narrows the columns that may be cut, the widest first, until a line is short enough."""
    cut = [number for number, column in enumerate(columns) if column.is_cut]
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


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    typer.echo(json.dumps(value, indent=1))


def print_next(common: Common, *steps: str | Sequence[str], result: object = None) -> None:
    """Ends a command: says where its result lies, and what one would do next.

    A step is the words of a command of cpp-pipe, which get the flags --run and --store of this one,
    or a line as it is. With --json this goes to stderr, so that stdout is JSON alone.
    """
    lines = [] if result is None else [f"result: {result}"]
    for number, step in enumerate(steps):
        line = step if isinstance(step, str) else command_line(common, *step)
        lines.append(f"{'next:' if number == 0 else '     '} {line}")
    for line in lines:
        if common.as_json:
            say(line)
        elif torchrun.rank() == 0:
            typer.echo(line)


def command_line(common: Common, *words: str) -> str:
    """A command as one types it in a shell, for the run and the store of another command."""
    words = ("cpp-pipe", *words)
    if common.run not in (None, DEFAULT_RUN):
        words = (*words, "--run", str(common.run))
    if common.store != os.environ.get(STORE_VARIABLE, DEFAULT_STORE):
        words = (*words, "--store", common.store)
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def write_table(table: "pa.Table", path: Path) -> None:
    """Writes a Parquet file, whole or not at all."""
    import pyarrow.parquet as pq

    from ..curation.files import whole_file

    with whole_file(path) as temporary:
        pq.write_table(table, temporary)
    say(f"wrote {path}")


def draw_tiles(tiles: "Sequence[Any]", path: Path) -> None:
    """Draws images with lines below them as a contact sheet."""
    from ..view.contact_sheet import draw_sheet

    if not tiles:
        say(f"nothing to draw: {path} is not written")
        return
    try:
        draw_sheet(tiles).save(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--sheet {path} cannot be written: {error}") from error
    say(f"drew {path}")
