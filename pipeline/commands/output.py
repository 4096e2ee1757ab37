"""What commands write beside what they print: tables and contact sheets."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...store import ConfigError
from .options import say

if TYPE_CHECKING:
    import pyarrow as pa

OutFlag = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.parquet", help="Write the whole table.")
]
SheetFlag = Annotated[
    Path | None, typer.Option("--sheet", help="Draw the listed images into this file.")
]


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
