"""A folder that FiftyOne opens as `FiftyOneDataset`: pictures, and all that is known of them.

Its importer takes two layouts. One holds the document of a database of its own version; this is the
other, without a version, which states plain samples and the types of their fields.
"""

import base64
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..curation.files import whole_folder
from ..curation.members import suffix_of
from ..curation.sources import read_pictures
from .image_table import EMBEDDING, Rows

if TYPE_CHECKING:
    import numpy as np

_MIME = {"jpg": "jpeg", "tif": "tiff"}
_LABEL = "fiftyone.core.fields.EmbeddedDocumentField(fiftyone.core.labels.Classification)"
_FIELDS = {
    "filepath": "fiftyone.core.fields.StringField",
    "tags": "fiftyone.core.fields.ListField(fiftyone.core.fields.StringField)",
    "metadata": (
        "fiftyone.core.fields.EmbeddedDocumentField(fiftyone.core.metadata.ImageMetadata)"
    ),
    "key": "fiftyone.core.fields.StringField",
    "shard": "fiftyone.core.fields.StringField",
    "row": "fiftyone.core.fields.IntField",
    "caption": "fiftyone.core.fields.StringField",
    "ground_truth": _LABEL,
    "cluster": _LABEL,
    "novelty": "fiftyone.core.fields.FloatField",
    EMBEDDING: "fiftyone.core.fields.VectorField",
}


def export_fiftyone(rows: Rows, out: Path, places: Mapping[str, str]) -> None:
    """Writes `data/`, `samples.json` and `metadata.json`.

    Pictures are copied byte for byte, named by their rows; `places` says where the sources lie. The
    sample's own label is `ground_truth`; `cluster` is a label with a confidence; what could be
    dropped as a near-duplicate has the tag `duplicate`.
    """
    pictures = read_pictures(rows.embeddings, places)
    digits = len(str(len(rows)))
    with whole_folder(out) as folder:
        (folder / "data").mkdir()
        with (folder / "samples.json").open("w", encoding="utf-8") as file:
            file.write('{"samples": [')
            for table in rows.tables(vectors=(EMBEDDING,)):
                told = table.drop_columns([EMBEDDING]).to_pylist()
                vectors = table.column(EMBEDDING).combine_chunks()
                flat = vectors.flatten().to_numpy(zero_copy_only=False)
                for row, vector in zip(told, flat.reshape(len(table), -1), strict=True):
                    encoded = next(pictures)
                    suffix = suffix_of(encoded)
                    name = f"data/{row['row']:0{digits}d}.{suffix}"
                    (folder / name).write_bytes(encoded)
                    sample = _sample(row, vector, name, suffix, len(encoded))
                    file.write(",\n" if row["row"] else "\n")
                    file.write(json.dumps(sample, ensure_ascii=False, allow_nan=False))
            file.write("\n]}\n")
        known = {name: one for name, one in _FIELDS.items() if _has(rows, name)}
        metadata = {"media_type": "image", "sample_fields": known, "info": {}}
        (folder / "metadata.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _has(rows: Rows, name: str) -> bool:
    return name not in ("cluster", "novelty") or rows.assignments is not None


def _sample(
    row: Mapping[str, Any], vector: "np.ndarray", name: str, suffix: str, size: int
) -> dict[str, Any]:
    sample: dict[str, Any] = {
        "filepath": name,
        "tags": [] if row.get("duplicate_of") is None else ["duplicate"],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": size,
            "mime_type": f"image/{_MIME.get(suffix, suffix)}",
            "width": row["width"],
            "height": row["height"],
        },
        "key": row["key"],
        "shard": row["shard"],
        "row": row["row"],
        "caption": row["caption"],
        "ground_truth": None,
        EMBEDDING: {"$binary": {"base64": _serialise(vector), "subType": "00"}},
    }
    if row["label"] is not None:
        sample["ground_truth"] = {"_cls": "Classification", "label": row["label"]}
    if "cluster" in row:
        caption = row.get("cluster_caption")
        label = str(row["cluster"]) if caption is None else f"{row['cluster']} {caption}"
        sample["cluster"] = {
            "_cls": "Classification",
            "label": label,
            "confidence": row["confidence"],
        }
        sample["novelty"] = row["novelty"]
    return sample


def _serialise(vector: "np.ndarray") -> str:
    """An array as FiftyOne stores it: a compressed .npy."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, vector.astype(np.float32), allow_pickle=False)
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
