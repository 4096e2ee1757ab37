"""Phrases that may name clusters: libraries' lists, WordNet's nouns, and the user's files."""

import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...store.errors import ConfigError, first_line
from .array_files import READ_ERRORS
from .fields import clean_text
from .tables.values import plain_column, table_errors
from .user_files import read_lines

if TYPE_CHECKING:
    import pyarrow as pa

IMAGENET, COCO, WORDNET = "imagenet", "coco", "wordnet"

NAME_COLUMNS = ("name", "text")
"""Columns of a table that hold its phrases; without one of them, its first text column does."""

_DOWNLOAD = "python -m wn download oewn:2024"
"""Downloads the Open English WordNet."""


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """Distinct phrases, with embeddings where their file holds them."""

    names: tuple[str, ...]
    embeddings: np.ndarray | None = None
    """Unit rows (m, d) in float32, by the model that embedded the images."""


def spelt(name: str) -> str:
    """A phrase with spaces for underscores, and single spaces."""
    return " ".join(name.replace("_", " ").split())


def first_of_each(names: Iterable[str]) -> list[int]:
    """The index of each distinct phrase's first occurrence, ignoring case.

    CLIP's tokenizer lower-cases text, so case does not change an embedding.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        first.setdefault(name.casefold(), index)
    return list(first.values())


def of_library(name: str) -> Phrases:
    """The classes of ImageNet as open_clip names them, or of COCO as torchvision does."""
    if name == IMAGENET:
        from open_clip import IMAGENET_CLASSNAMES

        return _phrases(IMAGENET_CLASSNAMES)
    assert name == COCO
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return _phrases(name for name in names if name not in ("__background__", "N/A"))


def wordnet_lexicon(name: str) -> str:
    """The lexicon of `wordnet` or `wordnet:LEXICON`: by default the newest English one installed.

    ConfigError where the package or the lexicon is not installed, with the command to install it.
    """
    if importlib.util.find_spec("wn") is None:
        raise ConfigError(
            f"the vocabulary {name!r} needs the package wn: pip install 'cpp-pipe[wordnet]', then "
            f"{_DOWNLOAD}"
        )
    wn = importlib.import_module("wn")
    wanted = name.partition(":")[2]
    installed = {f"{lexicon.id}:{lexicon.version}": lexicon.language for lexicon in wn.lexicons()}
    if wanted in installed:
        return wanted
    english = [lexicon for lexicon, language in installed.items() if language == "en"]
    if wanted:
        there = f"only {', '.join(installed)}" if installed else "and no other"
        raise ConfigError(f"wn has no lexicon {wanted!r}, {there}: python -m wn download {wanted}")
    if not english:
        raise ConfigError(
            f"the vocabulary {name!r} needs the words of WordNet, and wn has no English lexicon "
            f"yet: {_DOWNLOAD}"
        )
    return max(english, key=lambda lexicon: (lexicon.startswith("oewn:"), lexicon))


def of_wordnet(lexicon: str) -> Phrases:
    """A phrase for each noun synset of a lexicon: the first of its lemmas."""
    wn = importlib.import_module("wn")
    lemmas = (synset.lemmas() for synset in wn.synsets(pos="n", lexicon=lexicon))
    phrases = _phrases(names[0] for names in lemmas if names)
    if not phrases.names:
        raise ConfigError(f"the lexicon {lexicon!r} of wn has no nouns: name another one")
    return phrases


def of_file(path: Path) -> Phrases:
    """The phrases of a file; ConfigError where it holds none.

    A text file holds a phrase per line; lines that begin with # are comments. A Parquet file holds
    them in a column `name` or `text`, else in its first text column. An .npz file holds `name`
    (m,), as text or bytes of UTF-8, and their text embeddings `t` (m, d).
    """
    read = {".npz": _of_npz, ".parquet": _of_parquet}.get(path.suffix, _of_text)
    phrases = read(path)
    if not phrases.names:
        raise ConfigError(f"the vocabulary {path} holds no phrase: write one per line or row")
    return phrases


def _phrases(names: Iterable[str]) -> Phrases:
    spellings = [spelling for spelling in map(spelt, names) if spelling]
    return Phrases(names=tuple(spellings[index] for index in first_of_each(spellings)))


def _of_text(path: Path) -> Phrases:
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the vocabulary {path} cannot be read as text: {error}") from error
    return _phrases(line for line in lines if not line.startswith("#"))


def _of_parquet(path: Path) -> Phrases:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            column = _name_column(file.schema_arrow, path)
            values = file.read(columns=[column]).column(0)
    except table_errors() as error:
        raise ConfigError(f"the vocabulary {path} cannot be read as Parquet: {error}") from error
    return _phrases(value for value in plain_column(values) if value is not None)


def _name_column(schema: "pa.Schema", path: Path) -> str:
    import pyarrow.types as types

    def is_text(data_type: "pa.DataType") -> bool:
        if types.is_dictionary(data_type):
            data_type = data_type.value_type
        return (
            types.is_string(data_type)
            or types.is_large_string(data_type)
            or types.is_string_view(data_type)
        )

    texts = [column.name for column in schema if is_text(column.type)]
    name = next((name for name in (*NAME_COLUMNS, *texts) if name in texts), None)
    if name is None:
        columns = ", ".join(f"{column.name} ({column.type})" for column in schema)[:400]
        raise ConfigError(
            f"the vocabulary {path} has no text column, but {columns}: put the phrases into a "
            f"column {' or '.join(NAME_COLUMNS)}"
        )
    return name


def _of_npz(path: Path) -> Phrases:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names, embeddings = arrays["name"], arrays["t"]
        if not isinstance(names, np.ndarray) or not isinstance(embeddings, np.ndarray):
            raise ValueError("these are files of something else")
    except READ_ERRORS as error:
        raise ConfigError(
            f"the vocabulary {path} is not an .npz with `name` and `t` ({first_line(error)}): "
            "save it again with numpy.savez"
        ) from error
    if embeddings.dtype.kind not in "fiub":
        raise ConfigError(
            f"t in the vocabulary {path} must hold numbers, got {embeddings.dtype}: save the text "
            "embeddings of its phrases"
        )
    if names.ndim != 1 or embeddings.ndim != 2 or len(names) != len(embeddings):
        raise ConfigError(
            f"the shapes of name and t in the vocabulary {path} must be (m,) and (m, d), got "
            f"{names.shape} and {embeddings.shape}"
        )
    with np.errstate(over="ignore"):  # what overflows is refused
        rows = embeddings.astype(np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ConfigError(
            f"t in the vocabulary {path} holds a row that is zero or not finite: leave it out"
        )
    spellings = [spelt(clean_text(_as_text(name))) for name in names]
    kept = [index for index in first_of_each(spellings) if spellings[index]]
    return Phrases(
        names=tuple(spellings[index] for index in kept), embeddings=(rows / lengths)[kept]
    )


def _as_text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
