"""Queries as vectors: a picture, a text, or a row that is there already."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..stages.encoder import Encoder
from ..stages.project import load_heads, refine
from ..store import Artifact, QueryError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def read_picture(query: "str | Path | Image.Image", at_least: int | None = None) -> "Image.Image":
    """The picture that a query names; QueryError when it is none.

    `at_least` is that of the encoder that will see it.
    """
    from PIL import Image

    from ..stages.sources.images import UndecodableImage, decode

    if isinstance(query, Image.Image):
        return query.convert("RGB")
    path = Path(query)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise QueryError(f"--query {path} cannot be read: {error.strerror}") from error
    try:
        return decode(data, at_least=at_least).rgb
    except UndecodableImage as error:
        raise QueryError(
            f"--query {path} is no picture that can be decoded ({error.reason}: {error.detail}): "
            "JPEG, PNG, WebP, GIF, BMP and TIFF are"
        ) from error


def embed_picture(encoder: Encoder, picture: "Image.Image") -> "np.ndarray":
    """The embedding (1, d) of a picture, as `embed` would have made it."""
    import numpy as np

    return encoder.images(encoder.preprocess(picture)[None]).astype(np.float16)


def refine_query(heads: Artifact, embedding: "np.ndarray", device: str) -> "np.ndarray":
    """The features (1, p) of an embedding (1, d)."""
    z, _ = refine(load_heads(heads, device), embedding, device)
    return z


def row_of_key(embeddings: Artifact, key: str) -> int:
    """The row of a key; QueryError when it is nowhere, or in several shards.

    `SHARD:KEY` names the key of one shard.
    """
    shard, _, rest = key.rpartition(":")
    found = []
    for part in embeddings.parts:
        table = embeddings.table(part.name, columns=["key", "shard"])
        keys, shards = table.column("key").to_pylist(), table.column("shard").to_pylist()
        for row, (one, where) in enumerate(zip(keys, shards, strict=True)):
            if one == key or (shard and one == rest and where == shard):
                found.append((embeddings.starts[part.name] + row, where))
    if not found:
        raise QueryError(f"--key {key!r} is in none of the {embeddings.rows} rows of the run")
    if len(found) > 1:
        shards = ", ".join(where for _, where in found[:5])
        raise QueryError(f"--key {key!r} is in several shards ({shards}): write SHARD:{key}")
    return found[0][0]
