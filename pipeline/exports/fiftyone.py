"""Writes a folder that FiftyOne opens as a `FiftyOneDataset`: images and their fields.

FiftyOne imports two layouts: a database document of one version of FiftyOne, and this one, without
a version: plain samples and the types of their fields.
"""

import base64
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...stages.sources.images.pixels import suffix_of
from ..curation.files import whole_folder
from ..curation.sources import read_images, requiring_image
from .image_table import EMBEDDING, ImageTable

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


def export_fiftyone(images: ImageTable, out: Path, places: Mapping[str, str]) -> None:
    """Writes `data/`, `samples.json` and `metadata.json`.

    Images are copied byte for byte and named by their rows; `places` has the location of each
    part's source. `ground_truth` is the label that came with the sample; `cluster` is a label with
    a confidence; near-duplicates that could be dropped have the tag `duplicate`.
    """
    digits = len(str(len(images)))
    with (
        whole_folder(out) as folder,
        read_images(images.embeddings, places) as encoded_images,
    ):
        (folder / "data").mkdir()
        with (folder / "samples.json").open("w", encoding="utf-8") as file:
            file.write('{"samples": [')
            for table in images.tables(vectors=(EMBEDDING,)):
                if not len(table):
                    continue  # every sample of the part was skipped
                rows = table.drop_columns([EMBEDDING]).to_pylist()
                vectors = table.column(EMBEDDING).combine_chunks()
                flat = vectors.flatten().to_numpy(zero_copy_only=False)
                for row, vector in zip(rows, flat.reshape(len(table), -1), strict=True):
                    encoded = next(encoded_images)
                    with requiring_image(row["key"]):
                        suffix = suffix_of(encoded)
                        name = f"data/{row['row']:0{digits}d}.{suffix}"
                        (folder / name).write_bytes(encoded)
                        sample = _sample(row, vector, name, suffix, len(encoded))
                        file.write(",\n" if row["row"] else "\n")
                        file.write(json.dumps(sample, ensure_ascii=False, allow_nan=False))
            file.write("\n]}\n")
        fields = {name: type_ for name, type_ in _FIELDS.items() if _has_field(images, name)}
        metadata = {"media_type": "image", "sample_fields": fields, "info": {}}
        (folder / "metadata.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _has_field(images: ImageTable, name: str) -> bool:
    return name not in ("cluster", "novelty") or images.assignments is not None


def _sample(
    row: Mapping[str, Any], vector: np.ndarray, name: str, suffix: str, size: int
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


def _serialise(vector: np.ndarray) -> str:
    """An array in FiftyOne's encoding: a compressed .npy."""
    buffer = io.BytesIO()
    np.save(buffer, vector.astype(np.float32), allow_pickle=False)
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
