"""The folder that clip-retrieval's `inference` writes, for its `index`, `filter` and `back`."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..curation.files import whole_folder
from .image_table import Rows

if TYPE_CHECKING:
    import pyarrow as pa

    from ...stages.encoder import Encoder

_TEXTS_AT_ONCE = 256


def export_clip_retrieval(rows: Rows, out: Path, encoder: "Encoder | None" = None) -> None:
    """Writes `img_emb/img_emb_NNNN.npy` and `metadata/metadata_NNNN.parquet`, a pair a part.

    Embeddings are float16 unit rows, as there. Its names of columns are used where it has one:
    `image_path` is the key, `caption` and `url` are the sample's own; the rest keeps our names.
    With an encoder captions are embedded too, into `text_emb/text_emb_NNNN.npy`: a row without a
    caption has that of an empty one.
    """
    import numpy as np
    import pyarrow.parquet as pq

    with whole_folder(out) as folder:
        for name in ("img_emb", "metadata", *(["text_emb"] if encoder is not None else [])):
            (folder / name).mkdir()
        parts = [part for part in rows.embeddings.parts if part.rows]
        tables = (table for table in rows.tables(vectors=()) if len(table))
        # Its readers go through the files in the order of their names.
        digits = max(4, len(str(len(parts))))
        for number, (part, table) in enumerate(zip(parts, tables, strict=True)):
            name = f"{number:0{digits}d}"
            embeddings = rows.embeddings.embeddings(part.name)
            np.save(folder / "img_emb" / f"img_emb_{name}.npy", embeddings, allow_pickle=False)
            renamed = ["image_path" if one == "key" else one for one in table.column_names]
            path = folder / "metadata" / f"metadata_{name}.parquet"
            pq.write_table(table.rename_columns(renamed), path)
            if encoder is not None:
                texts = _embed_captions(table, encoder)
                np.save(folder / "text_emb" / f"text_emb_{name}.npy", texts, allow_pickle=False)


def _embed_captions(table: "pa.Table", encoder: "Encoder"):
    import numpy as np

    captions = [one or "" for one in table.column("caption").to_pylist()]
    blocks = [
        encoder.texts(captions[start : start + _TEXTS_AT_ONCE])
        for start in range(0, len(captions), _TEXTS_AT_ONCE)
    ]
    return np.concatenate(blocks).astype(np.float16)
