"""Writes a folder that `datasets.load_dataset` reads offline: Parquet files and a card."""

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..curation.files import whole_folder
from ..wording import counted
from .file_names import FileNames
from .labelled_images import LabelledImage, LabelledImages

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGES_PER_GROUP = 100
"""Images of a row group, which a reader holds at once, at most."""
_BYTES_PER_GROUP = 1 << 28
"""Bytes of a row group's images from which it ends: Arrow holds no 2 GiB of them in a column, and
a hundred photographs of a camera's own format may take more."""

_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"), (10**8, "10M<n<100M"),
)  # fmt: skip
"""The size categories of the Hugging Face Hub."""


def export_huggingface(images: LabelledImages, out: Path, rows_per_file: int) -> int:
    """Writes `data/00000.parquet` and so on, and `README.md`; returns the number of Parquet files.

    The schema declares, as `datasets` does, that `image` is an image, which is copied byte for
    byte, and that `label` is one of the clusters.
    """
    names = FileNames()
    schema = _schema(list(images.classes.values()))
    with whole_folder(out) as folder:
        (folder / "data").mkdir()
        remaining = iter(images)
        files = 0
        while first := next(remaining, None):
            path = folder / "data" / f"{files:05d}.parquet"
            others = islice(remaining, rows_per_file - 1)
            _write_file(path, schema, chain([first], others), names)
            files += 1
        (folder / "README.md").write_text(_card(images), encoding="utf-8", newline="\n")
    return files


def _write_file(
    path: Path, schema: "pa.Schema", images: Iterator[LabelledImage], names: FileNames
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    options = {"compression": "none", "use_dictionary": ["shard"], "write_statistics": ["label"]}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in _groups(images):
            rows = [_row(image, names) for image in group]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _groups(images: Iterator[LabelledImage]) -> Iterator[list[LabelledImage]]:
    """The images of each row group."""
    group: list[LabelledImage] = []
    size = 0
    for image in images:
        group.append(image)
        size += len(image.encoded)
        if len(group) == _IMAGES_PER_GROUP or size >= _BYTES_PER_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _row(image: LabelledImage, names: FileNames) -> dict[str, object]:
    return {
        "image": {"bytes": image.encoded, "path": names.name(image.key, image.suffix)},
        "label": image.label,
        "confidence": image.confidence,
        "tags": image.tags,
        "caption": image.caption,
        "given_label": image.given_label,
        "key": image.key,
        "shard": image.shard,
    }


def _schema(classes: list[str]) -> "pa.Schema":
    import pyarrow as pa

    text = {"dtype": "string", "_type": "Value"}
    features = {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "confidence": {"dtype": "float32", "_type": "Value"},
        # The only form of a list in versions of datasets before 4.
        "tags": [text],
        "caption": text,
        "given_label": text,
        "key": text,
        "shard": text,
    }
    fields = {
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        "label": pa.int64(),
        "confidence": pa.float32(),
        "tags": pa.list_(pa.string()),
        "caption": pa.string(),
        "given_label": pa.string(),
        "key": pa.string(),
        "shard": pa.string(),
    }
    info = json.dumps({"info": {"features": features}}, ensure_ascii=False)
    return pa.schema(list(fields.items()), metadata={"huggingface": info})


def _card(images: LabelledImages) -> str:
    """The data set's card, which begins with YAML."""
    size = next((words for most, words in _SIZES if images.written < most), "n>100M")
    count = counted(images.written, "image")
    lines = [
        "---",
        "pretty_name: Clusters of images",
        "task_categories:",
        "- image-classification",
        "size_categories:",
        f"- {size}",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: data/*.parquet",
        "---",
        "",
        "# Clusters of images",
        "",
        f"{count} in {counted(len(images.classes), 'cluster')}, written by `cpp-pipe export",
        "huggingface`. `label` is the cluster, and `confidence` says how surely an image belongs",
        "to it, from 0 to 1. `tags` are what people decided; `caption` and `given_label` came with",
        "the image.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'images = load_dataset("this folder", split="train")',
        "```",
        "",
    ]
    return "\n".join(lines)
