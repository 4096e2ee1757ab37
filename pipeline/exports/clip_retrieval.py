"""Writes a folder like clip-retrieval's `inference`, for its `index`, `filter` and `back`."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...store.files import write_array
from ..curation.files import whole_folder
from .image_table import ImageTable

if TYPE_CHECKING:
    import pyarrow as pa

    from ...stages.encoding.encoder import Encoder

_TEXTS_AT_ONCE = 256


def export_clip_retrieval(images: ImageTable, out: Path, encoder: "Encoder | None" = None) -> None:
    """Writes `img_emb/img_emb_NNNN.npy` and `metadata/metadata_NNNN.parquet` for each part.

    As in clip-retrieval, embeddings are float16 unit rows, `image_path` is the key, and `caption`
    and `url` came with the sample. With an encoder, captions are embedded, too, into
    `text_emb/text_emb_NNNN.npy`; a missing caption counts as an empty one.
    """
    import pyarrow.parquet as pq

    with whole_folder(out) as folder:
        for name in ("img_emb", "metadata", *(["text_emb"] if encoder is not None else [])):
            (folder / name).mkdir()
        parts = [part for part in images.embeddings.parts if part.rows]
        tables = (table for table in images.tables(vectors=()) if len(table))
        # clip-retrieval reads files in the order of their names.
        digits = max(4, len(str(len(parts))))
        for number, (part, table) in enumerate(zip(parts, tables, strict=True)):
            name = f"{number:0{digits}d}"
            embeddings = images.embeddings.embeddings(part.name)
            write_array(folder / "img_emb" / f"img_emb_{name}.npy", embeddings)
            columns = ["image_path" if column == "key" else column for column in table.column_names]
            path = folder / "metadata" / f"metadata_{name}.parquet"
            pq.write_table(table.rename_columns(columns), path)
            if encoder is not None:
                texts = _embed_captions(table, encoder)
                write_array(folder / "text_emb" / f"text_emb_{name}.npy", texts)


def _embed_captions(table: "pa.Table", encoder: "Encoder") -> np.ndarray:
    captions = [caption or "" for caption in table.column("caption").to_pylist()]
    blocks = [
        encoder.texts(captions[start : start + _TEXTS_AT_ONCE])
        for start in range(0, len(captions), _TEXTS_AT_ONCE)
    ]
    return np.concatenate(blocks).astype(np.float16)
