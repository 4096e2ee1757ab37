"""One Parquet file with a row an image, for pandas, Polars, DuckDB and datasets."""

from pathlib import Path

from ..curation.files import whole_file
from .image_table import EMBEDDING, FEATURE, ImageTable, write_tables


def export_parquet(images: ImageTable, out: Path) -> None:
    """Writes the columns of `ImageTable.tables`, a row group a part; nothing is compressed."""
    names = next(images.tables()).column_names
    plain = [name for name in names if name not in (EMBEDDING, FEATURE)]
    options = {"use_dictionary": False, "compression": "none", "write_statistics": plain}
    with whole_file(out) as temporary:
        write_tables(temporary, images.tables(), **options)
