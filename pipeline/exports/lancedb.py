"""A LanceDB database with one table, whose `vector` is the raw embedding."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store import MissingError
from ..curation.files import whole_folder
from .image_table import EMBEDDING, Rows

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "images"


def export_lancedb(rows: Rows, out: Path) -> None:
    """Writes a database that `lancedb.connect(out)` opens. MissingError where LanceDB is not there.

    Vectors are float16 unit rows: search with `metric="dot"` or `"cosine"`.
    """
    lancedb = import_lancedb()
    with whole_folder(out) as folder:
        tables = _tables(rows)
        first = next(tables)
        database = lancedb.connect(str(folder))
        made = database.create_table(TABLE, first)
        for table in tables:
            made.add(table)


def import_lancedb() -> Any:
    """The module `lancedb`; MissingError says how to install it."""
    try:
        return importlib.import_module("lancedb")
    except ImportError as error:
        raise MissingError(
            "export lancedb needs LanceDB: pip install 'cpp-pipe[lancedb]'"
        ) from error


def _tables(rows: Rows) -> "Iterator[pa.Table]":
    for table in rows.tables():
        # LanceDB looks for vectors under this name.
        names = ["vector" if name == EMBEDDING else name for name in table.column_names]
        yield table.rename_columns(names)
