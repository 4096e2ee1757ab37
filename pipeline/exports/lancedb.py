"""Writes a LanceDB database with one table, whose `vector` is the raw embedding."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store import MissingError
from ..curation.files import whole_folder
from .image_table import EMBEDDING, ImageTable

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "images"


def export_lancedb(images: ImageTable, out: Path) -> None:
    """Writes a database that `lancedb.connect(out)` opens. MissingError without LanceDB.

    Vectors are float16 unit rows: search with `metric="dot"` or `"cosine"`.
    """
    lancedb = import_lancedb()
    with whole_folder(out) as folder:
        tables = _tables(images)
        first = next(tables)
        database = lancedb.connect(str(folder))
        table = database.create_table(TABLE, first)
        for rows in tables:
            table.add(rows)


def import_lancedb() -> Any:
    """The module `lancedb`; MissingError says how to install it."""
    try:
        return importlib.import_module("lancedb")
    except ImportError as error:
        raise MissingError(
            "export lancedb needs LanceDB: pip install 'cpp-pipe[lancedb]'"
        ) from error


def _tables(images: ImageTable) -> "Iterator[pa.Table]":
    for table in images.tables():
        # LanceDB expects vectors in a column of this name.
        names = ["vector" if name == EMBEDDING else name for name in table.column_names]
        yield table.rename_columns(names)
