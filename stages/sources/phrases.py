"""Phrases that may name clusters: lists of libraries, WordNet's nouns, and files of the user's."""

import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...store.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

IMAGENET, COCO, WORDNET = "imagenet", "coco", "wordnet"

NAME_COLUMNS = ("name", "text")
"""Columns of a table that hold its phrases; without them its first column of text does."""

_DOWNLOAD = "python -m wn download oewn:2024"
"""Gets the Open English WordNet."""


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """Phrases that differ, with embeddings where their file brought them along."""

    names: tuple[str, ...]
    embeddings: "np.ndarray | None" = None
    """(m, d) in float32, of unit length; of the same model as the images'."""


def spelt(name: str) -> str:
    """A phrase as a person writes it: an underscore is a space."""
    return " ".join(name.replace("_", " ").split())


def first_of_each(names: Iterable[str]) -> list[int]:
    """Where each phrase stands first; small and capital letters make no other phrase of it.

    CLIP's tokenizer makes them small, so that it embeds both alike.
    """
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        first.setdefault(name.casefold(), place)
    return list(first.values())


def of_library(name: str) -> Phrases:
    """The classes of ImageNet as open_clip calls them, or of COCO as torchvision does."""
    if name == IMAGENET:
        from open_clip import IMAGENET_CLASSNAMES

        return _phrases(IMAGENET_CLASSNAMES)
    assert name == COCO
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return _phrases(one for one in names if one not in ("__background__", "N/A"))


def wordnet_lexicon(name: str) -> str:
    """The lexicon of `wordnet` or `wordnet:LEXICON`: by default the newest English one there is.

    ConfigError where the package or the lexicon is not installed, with the command that does it.
    """
    if importlib.util.find_spec("wn") is None:
        raise ConfigError(
            f"the vocabulary {name!r} needs the package wn: pip install 'cpp-pipe[wordnet]', then "
            f"{_DOWNLOAD}"
        )
    wn = importlib.import_module("wn")
    wanted = name.partition(":")[2]
    installed = {f"{one.id}:{one.version}": one.language for one in wn.lexicons()}
    if wanted in installed:
        return wanted
    english = [one for one, language in installed.items() if language == "en"]
    if wanted or not english:
        raise ConfigError(
            f"wn has no lexicon {wanted!r}, only {', '.join(installed) or 'none'}: "
            f"python -m wn download {wanted}"
            if wanted
            else f"the vocabulary {name!r} needs the words of WordNet, and wn has no English ones "
            f"yet: {_DOWNLOAD}"
        )
    return max(english, key=lambda one: (one.startswith("oewn:"), one))


def of_wordnet(lexicon: str) -> Phrases:
    """A phrase for each noun synset of a lexicon: the first of its lemmas."""
    wn = importlib.import_module("wn")
    lemmas = (synset.lemmas() for synset in wn.synsets(pos="n", lexicon=lexicon))
    found = _phrases(names[0] for names in lemmas if names)
    if not found.names:
        raise ConfigError(f"the lexicon {lexicon!r} of wn has no nouns: name another one")
    return found


def of_file(path: Path) -> Phrases:
    """The phrases of a file; ConfigError where it holds none.

    A text file holds a phrase a line, lines that begin with # are comments. A Parquet file holds
    them in a column `name` or `text`, else in its first column of text. An .npz file holds `name`
    (m,) and their text embeddings `t` (m, d).
    """
    read = {".npz": _of_npz, ".parquet": _of_parquet}.get(path.suffix, _of_text)
    found = read(path)
    if not found.names:
        raise ConfigError(f"the vocabulary {path} holds no phrase: write one a line, or a row")
    return found


def _phrases(names: Iterable[str]) -> Phrases:
    written = [one for one in map(spelt, names) if one]
    return Phrases(names=tuple(written[place] for place in first_of_each(written)))


def _of_text(path: Path) -> Phrases:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the vocabulary {path} cannot be read as text: {error}") from error
    return _phrases(line for line in lines if not line.startswith("#"))


def _of_parquet(path: Path) -> Phrases:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            column = _name_column(file.schema_arrow, path)
            values = file.read(columns=[column]).column(0)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"the vocabulary {path} cannot be read as Parquet: {error}") from error
    return _phrases(one for one in values.to_pylist() if one is not None)


def _name_column(schema: "pa.Schema", path: Path) -> str:
    import pyarrow.types as types

    def is_text(kind: "pa.DataType") -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)

    texts = [one.name for one in schema if is_text(one.type)]
    found = next((one for one in (*NAME_COLUMNS, *texts) if one in texts), None)
    if found is None:
        there = ", ".join(f"{one.name} ({one.type})" for one in schema)[:400]
        raise ConfigError(
            f"the vocabulary {path} has no column of text, but {there}: phrases stand in a column "
            f"{' or '.join(NAME_COLUMNS)}"
        )
    return found


def _of_npz(path: Path) -> Phrases:
    import zipfile

    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names, embeddings = arrays["name"], arrays["t"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"the vocabulary {path} is not an .npz with `name` and `t`: {error}"
        ) from error
    if names.ndim != 1 or embeddings.ndim != 2 or len(names) != len(embeddings):
        raise ConfigError(
            f"the vocabulary {path} holds name {names.shape} and t {embeddings.shape}: "
            "(m,) and (m, d) are needed"
        )
    rows = embeddings.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ConfigError(f"the vocabulary {path} holds an embedding in t that has no direction")
    written = [spelt(str(one)) for one in names]
    places = [place for place in first_of_each(written) if written[place]]
    kept = tuple(written[place] for place in places)
    return Phrases(names=kept, embeddings=(rows / lengths)[places])
