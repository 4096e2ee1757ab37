"""Writes a Parquet file with a row for each image, for pandas, Polars, DuckDB and datasets."""

from pathlib import Path

from ..curation.files import whole_file
from .image_table import EMBEDDING, FEATURE, ImageTable, write_tables


def export_parquet(images: ImageTable, out: Path) -> None:
    """Writes the columns of `ImageTable.tables`, uncompressed, with a row group for each part."""
    names = next(images.tables()).column_names
    columns_with_statistics = [name for name in names if name not in (EMBEDDING, FEATURE)]
    options = {
        "use_dictionary": False,
        "compression": "none",
        "write_statistics": columns_with_statistics,
    }
    with whole_file(out) as temporary:
        write_tables(temporary, images.tables(), **options)
