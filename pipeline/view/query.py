"""Queries: the images, texts and keys that hits must be like, or unlike, as vectors."""

import os
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from ...stages.encoding.encoder import Encoder
from ...stages.sources import user_files
from ...stages.sources.image_formats import is_image_name
from ...store import ConfigError, QueryError
from ...store.errors import first_line
from ...store.names import is_text
from ...store.paths import expanded
from ..arguments import whole

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

ExampleKind = Literal["image", "text", "key", "row", "vector"]

STANDARD_INPUT = "-"

_SHOWN = 40
"""Characters of a text in a message."""

_UNLIKE_WEIGHT = 0.5
"""The weight of the mean of the examples to avoid, if that of the others has weight 1.

Below 1, what both have in common still counts (Rocchio, 1971)."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image, text, key, row number or vector that hits must be like, or unlike."""

    kind: ExampleKind
    value: Any
    name: str = ""
    """The name of the file that an image was read from."""
    flag: str = ""
    """The flag as the user typed it, for messages; empty if there was none."""

    def __post_init__(self) -> None:
        if self.kind in ("text", "key"):
            if not isinstance(self.value, str):
                raise QueryError(f"a {self.kind} must be a str, got {reprlib.repr(self.value)}")
            if not self.value.strip():
                raise QueryError(f"a {self.kind} must not be empty")
            if not is_text(self.value):
                raise QueryError(f"a {self.kind} must be text, got {reprlib.repr(self.value)}")
        if self.kind == "row":
            object.__setattr__(self, "value", whole(self.value, "row"))


@dataclass(frozen=True, kw_only=True)
class Question:
    """A search: the examples, the space to search, and the rows that may be found."""

    like: tuple[Example, ...]
    unlike: tuple[Example, ...] = ()
    space: str | None = None
    """`features` or `embeddings`; None is `embeddings` if there is a text, else `features`."""
    n: int = 10
    clusters: tuple[int, ...] = ()
    """Only rows of these clusters; of all if empty."""
    min_confidence: float | None = None
    """Only rows at least this confident."""
    target_recall: float | None = None
    """The share of true neighbours to find; None is the run's setting."""
    edits: str | None = None
    """Decisions that are applied: the name of sealed ones, or `open`; None applies none."""
    conditions: tuple[str, ...] = ()
    """Only rows that meet all of these, such as `sharpness > 2`: see `view.conditions`."""

    def __post_init__(self) -> None:
        if not self.like:
            raise QueryError("nothing to search for: give an image, a text, a key or a vector")
        if whole(self.n, "n") < 1:
            raise ConfigError(f"n must be at least 1, got {self.n}")
        object.__setattr__(self, "n", whole(self.n, "n"))
        object.__setattr__(self, "clusters", tuple(whole(k, "cluster") for k in self.clusters))
        is_space = isinstance(self.space, str) and self.space in ("features", "embeddings")
        if self.space is not None and not is_space:
            raise ConfigError(
                f"space must be 'features' or 'embeddings', got {reprlib.repr(self.space)}"
            )
        space_for(self.space, has_text=self.has_text)
        least = self.min_confidence
        if least is not None and not 0 <= _number(least, "min_confidence") <= 1:
            raise ConfigError(f"min_confidence must be from 0 to 1, got {least}")
        recall = self.target_recall
        if recall is not None and not 0 < _number(recall, "target_recall") <= 1:
            raise ConfigError(f"target_recall must be above 0 and at most 1, got {recall}")

    @property
    def needs_clusters(self) -> bool:
        """Whether clusters decide which rows may be found."""
        return bool(self.clusters) or self.min_confidence is not None or self.edits is not None

    @property
    def where(self) -> str:
        """The space that is searched."""
        return space_for(self.space, has_text=self.has_text)

    @property
    def has_text(self) -> bool:
        """Whether an example is a text, so that the model is needed."""
        return any(example.kind == "text" for example in (*self.like, *self.unlike))


def _number(value: Any, name: str) -> float:
    """A number, also one of NumPy; ConfigError for anything else, such as text."""
    if isinstance(value, Real):
        return float(value)
    raise ConfigError(f"{name} must be a number, got {reprlib.repr(value)}")


def space_for(space: str | None, *, has_text: bool) -> str:
    """The space that a query is compared in; QueryError for a text among features."""
    if has_text and space == "features":
        raise QueryError("a text has no features: search for it in the space embeddings")
    return space or ("embeddings" if has_text else "features")


def examples(by_kind: Mapping[str, Any]) -> tuple[Example, ...]:
    """Examples from values by kind: one value, several in a list, or None."""
    if not isinstance(by_kind, Mapping):
        got = reprlib.repr(by_kind)
        raise QueryError(f"give examples by kind, such as {{'text': 'a dog'}}, got {got}")
    parsed: list[Example] = []
    kinds: dict[str, ExampleKind] = {kind: kind for kind in get_args(ExampleKind)}
    for name, value in by_kind.items():
        if name not in kinds:
            raise QueryError(f"{name!r} is not a kind of example: give {', '.join(kinds)}")
        kind = kinds[name]
        if value is None:
            continue
        if kind == "vector":
            values = _vectors(value)
        else:
            values = value if isinstance(value, list | tuple) else [value]
        parsed += [Example(kind=kind, value=value) for value in values]
    return tuple(parsed)


def _vectors(value: Any) -> "list[np.ndarray]":
    """The rows of an array, a list or a tensor; QueryError if they are no numbers."""
    import numpy as np

    try:
        rows = np.atleast_2d(np.asarray(value))
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise QueryError(f"a vector must be an array of numbers: {first_line(error)}") from error
    if rows.dtype.kind not in "fiu" or rows.ndim != 2:
        raise QueryError(
            f"a vector must be an array of numbers, or several in a list, got {rows.dtype} of "
            f"shape {rows.shape}"
        )
    return list(rows)


def unlike_example(text: str) -> Example:
    """The example that a value of `--not` names: key:KEY, the name of an image, or else words."""
    if text.startswith("key:"):
        return Example(kind="key", value=text.removeprefix("key:"), flag=f"--not {text!r}")
    if text.startswith("text:"):
        return Example(kind="text", value=text.removeprefix("text:"))
    is_image = is_image_name(text) or "://" in text
    # Unlike Path.is_file, it takes any text: words may be too long for the name of a file.
    if text == STANDARD_INPUT or is_image or os.path.isfile(os.path.expanduser(text)):
        return image_example(text, "--not")
    return Example(kind="text", value=text)


def image_example(name: str, flag: str) -> Example:
    """An image named by a flag, read once; QueryError if it is not an image."""
    data = read_bytes(name, flag)
    read_image(data, name=name, flag=flag)
    return Example(kind="image", value=data, name=name, flag=flag)


def read_bytes(name: "str | Path", flag: str = "image") -> bytes:
    """The bytes of a local file, by its path or its file:// URL, or of standard input for `-`."""
    if str(name) == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    path = expanded(name)
    if "://" in str(name):
        try:
            url = urlsplit(str(name))
        except ValueError as error:  # a bracket of an address of IPv6 without the other
            raise QueryError(f"{flag} {name} cannot be read: {error}") from error
        if url.scheme != "file" or url.netloc not in ("", "localhost"):
            raise QueryError(
                f"{flag} {name} is not on this machine: give a path, a file:// URL, or - for "
                "standard input, e.g. `curl URL | cpp-pipe search --query -`"
            )
        path = Path(unquote(url.path))
    try:
        return user_files.read_bytes(path)
    except OSError as error:
        raise QueryError(f"{flag} {name} cannot be read: {error.strerror}") from error


def read_image(
    query: "str | Path | bytes | Image.Image",
    name: str = "",
    *,
    flag: str = "image",
    at_least: int | None = None,
    upright: bool = False,
) -> "Image.Image":
    """A query image from its path, its bytes or Pillow; QueryError if it is not an image.

    `at_least` and `upright` are those of the encoder that will see it. An image of Pillow is taken
    as it is, without its EXIF orientation.
    """
    from PIL import Image

    from ...stages.sources.images.modes import to_rgb
    from ...stages.sources.images.pixels import UndecodableImage, decode

    if isinstance(query, Image.Image):
        try:
            is_empty = 0 in query.size
            rgb = to_rgb(query.copy())
        except (OSError, ValueError, SyntaxError) as error:  # Pillow reads its pixels only now
            raise QueryError(f"an image cannot be read: {first_line(error)}") from error
        if is_empty:
            raise QueryError(f"an image must have pixels, got the size {query.size}")
        return rgb
    if not isinstance(query, str | Path | bytes):
        raise QueryError(
            "an image must be a path, its encoded bytes or an image of Pillow, got "
            f"{type(query).__name__}: wrap an array with PIL.Image.fromarray, read a file object "
            "with read()"
        )
    data = query if isinstance(query, bytes) else read_bytes(query, flag)
    shown_name = name or ("bytes" if isinstance(query, bytes) else str(query))
    try:
        return decode(data, at_least=at_least, upright=upright).rgb
    except UndecodableImage as error:
        raise QueryError(
            f"{flag} {shown_name} cannot be decoded ({error.reason}: {error.detail}): it must be a "
            "JPEG, PNG, WebP, GIF, BMP, TIFF or another image that Pillow reads"
        ) from error


def combine(like: "np.ndarray", unlike: "np.ndarray") -> "np.ndarray":
    """One unit row, float32 (1, d), of examples to be like (m, d) and to be unlike (k, d).

    A single example is returned as it is, a unit row within the rounding of float16. QueryError if
    the examples cancel out.
    """
    import numpy as np

    if len(like) == 1 and not len(unlike):
        return np.asarray(like, np.float32)
    direction = _unit(like).mean(0)
    if len(unlike):
        direction = direction - _UNLIKE_WEIGHT * _unit(unlike).mean(0)
    length = float(np.linalg.norm(direction))
    if not length > 1e-3:
        raise QueryError("the examples cancel out: those to avoid are those to find")
    return (direction / length).astype(np.float32)[None]


def _unit(rows: "np.ndarray") -> "np.ndarray":
    import numpy as np

    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check_vector(vector: "np.ndarray", width: int, space: str) -> "np.ndarray":
    """A vector as a unit row (1, d); QueryError for one of another size, or without a direction."""
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


def describe_cuts(encoder: Encoder, question: Question) -> list[str]:
    """A line for each text of a question that the model does not read to its end."""
    texts = [
        example.value for example in (*question.like, *question.unlike) if example.kind == "text"
    ]
    return [
        f"the text {text[:_SHOWN]!r}… is longer than the model reads: its end does not count"
        for text in encoder.cut_texts(texts)
    ]


def embed_image(encoder: Encoder, image: "Image.Image") -> "np.ndarray":
    """The embedding (1, d) of an image, as `embed` would make it; QueryError if it is too thin."""
    import numpy as np

    from ...stages.sources.images.pixels import UndecodableImage

    try:
        pixels = encoder.preprocess(image)
    except UndecodableImage as error:
        raise QueryError(
            f"the image cannot be embedded ({error.reason}: {error.detail}): cut a piece out of it"
        ) from error
    return encoder.images(pixels[None]).astype(np.float16)
