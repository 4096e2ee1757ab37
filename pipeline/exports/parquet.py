"""One Parquet file with a row a picture: pandas, Polars, DuckDB and datasets read it."""

from pathlib import Path

from ..curation.files import whole
from .image_table import EMBEDDING, FEATURE, Rows, write_tables


def export_parquet(rows: Rows, out: Path) -> None:
    """Writes the columns of `Rows.tables`, a row group a part; vectors plain, not compressed."""
    names = next(rows.tables()).column_names
    plain = [name for name in names if name not in (EMBEDDING, FEATURE)]
    how = {"use_dictionary": False, "compression": "none", "write_statistics": plain}
    with whole(out) as temporary:
        write_tables(temporary, rows.tables(), **how)
