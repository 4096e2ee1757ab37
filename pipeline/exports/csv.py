"""Writes a CSV file with a row for each image, without vectors, for spreadsheets and scripts."""

import json
from pathlib import Path

from ..curation.files import whole_file
from .image_table import ImageTable


def export_csv(images: ImageTable, out: Path) -> None:
    """Writes the columns of `ImageTable.tables` without vectors; tags become a JSON array."""
    import pyarrow as pa
    import pyarrow.csv as csv

    with whole_file(out) as temporary, temporary.open("wb") as file:
        writer = None
        for table in images.tables(vectors=()):
            if "tags" in table.column_names:
                tags = [json.dumps(tags, ensure_ascii=False) for tags in table["tags"].to_pylist()]
                index = table.column_names.index("tags")
                table = table.set_column(index, "tags", pa.array(tags, pa.string()))
            writer = writer or csv.CSVWriter(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
