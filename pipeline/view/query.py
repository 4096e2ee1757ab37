"""Queries as vectors: pictures, texts, keys; what hits shall be like, and unlike."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from ...stages.encoder import Encoder
from ...store import Artifact, ConfigError, QueryError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

ExampleKind = Literal["image", "text", "key", "row", "vector"]

STANDARD_INPUT = "-"

_UNLIKE_WEIGHT = 0.5
"""Of the mean of what hits shall be unlike, beside that of what they shall be like (Rocchio, 1971):
what both have in common counts for the latter."""

_PICTURE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image, text, key, row number or vector that hits must be like, or unlike."""

    kind: ExampleKind
    value: Any
    name: str = ""
    """Of a picture whose bytes were read."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is looked for, where, and among which rows."""

    like: tuple[Example, ...]
    unlike: tuple[Example, ...] = ()
    space: str | None = None
    """`features`, or `embeddings`, where texts are; found by the examples if None."""
    n: int = 10
    clusters: tuple[int, ...] = ()
    """Rows of these clusters alone; of all if empty."""
    min_confidence: float | None = None
    """Rows that are in their cluster with no less confidence."""
    target_recall: float | None = None
    """The share of true neighbours to find; None is that of the run's settings."""

    def __post_init__(self) -> None:
        if not self.like:
            raise QueryError("nothing to search for: give an image, a text, a key or a vector")
        if self.n < 1:
            raise ConfigError(f"n must be at least 1, got {self.n}")
        if self.space not in (None, "features", "embeddings"):
            raise ConfigError(f"space must be 'features' or 'embeddings', got {self.space!r}")
        space_for(self.space, has_text=self._has_text)
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"min_confidence must be from 0 to 1, got {self.min_confidence}")
        if self.target_recall is not None and not 0 < self.target_recall <= 1:
            raise ConfigError(
                f"target_recall must be above 0 and at most 1, got {self.target_recall}"
            )

    @property
    def is_filtered(self) -> bool:
        """Whether some rows must not be found."""
        return bool(self.clusters) or self.min_confidence is not None

    @property
    def where(self) -> str:
        """The space that is searched."""
        return space_for(self.space, has_text=self._has_text)

    @property
    def _has_text(self) -> bool:
        return any(example.kind == "text" for example in (*self.like, *self.unlike))


def space_for(wanted: str | None, *, has_text: bool) -> str:
    """The space that a query is compared in; QueryError for a text among features."""
    if has_text and wanted == "features":
        raise QueryError("a text has no features: search for it in `embeddings`")
    return wanted or ("embeddings" if has_text else "features")


def examples(given: Mapping[str, Any]) -> tuple[Example, ...]:
    """Examples by kind, as keywords of Python give them: one value, several in a list, or None."""
    import numpy as np

    made: list[Example] = []
    kinds: dict[str, ExampleKind] = {kind: kind for kind in get_args(ExampleKind)}
    for name, value in given.items():
        if name not in kinds:
            raise QueryError(f"{name!r} is not a kind of example, which are {', '.join(kinds)}")
        kind = kinds[name]
        if value is None:
            continue
        if kind == "vector":
            values = list(np.atleast_2d(np.asarray(value, np.float32)))
        else:
            values = value if isinstance(value, list | tuple) else [value]
        made += [Example(kind=kind, value=one) for one in values]
    return tuple(made)


def unlike_example(text: str) -> Example:
    """What a value of `--not` means: key:KEY, the name of a picture, or else words."""
    if text.startswith("key:"):
        return Example(kind="key", value=text.removeprefix("key:"))
    if text.startswith("text:"):
        return Example(kind="text", value=text.removeprefix("text:"))
    is_picture = Path(text).suffix.lower() in _PICTURE_SUFFIXES or "://" in text
    if text == STANDARD_INPUT or is_picture or Path(text).is_file():
        return picture_example(text)
    return Example(kind="text", value=text)


def picture_example(name: str) -> Example:
    """A picture that is named on the command line, read once; QueryError when it is none."""
    data = read_bytes(name)
    read_picture(data, name=name)
    return Example(kind="image", value=data, name=name)


def read_bytes(name: "str | Path") -> bytes:
    """The bytes of a local file, by its path or its file:// URL, or of standard input for `-`."""
    if str(name) == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    path = Path(name)
    if "://" in str(name):
        url = urlsplit(str(name))
        if url.scheme != "file" or url.netloc not in ("", "localhost"):
            raise QueryError(
                f"--query {name} is not on this machine: paths, file:// URLs and - (standard "
                "input) are read, as in `curl URL | cpp-pipe search --query -`"
            )
        path = Path(unquote(url.path))
    try:
        return path.read_bytes()
    except OSError as error:
        raise QueryError(f"--query {name} cannot be read: {error.strerror}") from error


def read_picture(
    query: "str | Path | bytes | Image.Image", at_least: int | None = None, name: str = ""
) -> "Image.Image":
    """The picture that a query names, or whose bytes it is; QueryError when it is none.

    `at_least` is that of the encoder that will see it.
    """
    from PIL import Image

    from ...stages.sources.images.pixels import UndecodableImage, decode

    if isinstance(query, Image.Image):
        return query.convert("RGB")
    data = query if isinstance(query, bytes) else read_bytes(query)
    named = name or ("of bytes" if isinstance(query, bytes) else str(query))
    try:
        return decode(data, at_least=at_least).rgb
    except UndecodableImage as error:
        raise QueryError(
            f"--query {named} is no picture that can be decoded ({error.reason}: {error.detail}): "
            "JPEG, PNG, WebP, GIF, BMP and TIFF are"
        ) from error


def combine(like: "np.ndarray", unlike: "np.ndarray") -> "np.ndarray":
    """One unit row, float32 (1, d), of examples that hits shall be like (m, d) and unlike (k, d).

    One example alone is what it is: a unit row, but for what rounding to float16 does to it.
    QueryError where nothing is left of what hits shall be like.
    """
    import numpy as np

    if len(like) == 1 and not len(unlike):
        return np.asarray(like, np.float32)
    wanted = _unit(like).mean(0)
    if len(unlike):
        wanted = wanted - _UNLIKE_WEIGHT * _unit(unlike).mean(0)
    length = float(np.linalg.norm(wanted))
    if not length > 1e-3:
        raise QueryError("the examples cancel out: what is looked for is what is not wanted")
    return (wanted / length).astype(np.float32)[None]


def _unit(rows: "np.ndarray") -> "np.ndarray":
    import numpy as np

    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check_vector(vector: "np.ndarray", width: int, space: str) -> "np.ndarray":
    """A vector as a unit row (1, d); QueryError for one that cannot be looked for."""
    import numpy as np

    vector = np.asarray(vector)
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(vector.astype(np.float64)))
    if vector.shape != (width,) or not np.isfinite(length) or length == 0:
        raise QueryError(
            f"a vector for {space} must have shape ({width},) and a finite length above 0, got "
            f"shape {vector.shape} and length {length:g}"
        )
    return (vector.astype(np.float64) / length).astype(np.float32)[None]


def embed_picture(encoder: Encoder, picture: "Image.Image") -> "np.ndarray":
    """The embedding (1, d) of a picture, as `embed` would have made it."""
    import numpy as np

    return encoder.images(encoder.preprocess(picture)[None]).astype(np.float16)


def row_of_key(embeddings: Artifact, key: str) -> int:
    """The row of a key; QueryError when it is nowhere, or in several shards.

    `SHARD:KEY` names the key of one shard. Row groups whose keys are all before or after it are
    not read.
    """
    shard, _, rest = key.rpartition(":")
    wanted = {key: None, **({rest: shard} if shard else {})}
    found: list[tuple[int, str]] = []
    for part in embeddings.parts:
        for row, where in _rows_with_key(embeddings.path(part.name, "rows"), wanted):
            found.append((embeddings.starts[part.name] + row, where))
    if not found:
        raise QueryError(f"--key {key!r} is in none of the {embeddings.rows} rows of the run")
    if len(found) > 1:
        shards = ", ".join(where for _, where in found[:5])
        raise QueryError(f"--key {key!r} is in several shards ({shards}): write SHARD:{key}")
    return found[0][0]


def _rows_with_key(path: Path, wanted: Mapping[str, str | None]) -> Sequence[tuple[int, str]]:
    """Rows of a Parquet file with one of some keys, each in any shard or in one; their shards."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: list[tuple[int, str]] = []
    with pq.ParquetFile(path) as file:
        column, start = file.schema_arrow.get_field_index("key"), 0
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            told = group.column(column).statistics
            if not (told and told.has_min_max) or any(told.min <= k <= told.max for k in wanted):
                table = file.read_row_group(number, columns=["key", "shard"])
                is_wanted = pc.is_in(table.column("key"), value_set=pa.array(list(wanted)))
                for row in pc.indices_nonzero(is_wanted).to_pylist():
                    key, shard = (table.column(name)[row].as_py() for name in ("key", "shard"))
                    if wanted[key] in (None, shard):
                        found.append((start + row, shard))
            start += group.num_rows
    return found
