"""Finds the vocabularies that settings name, before any work starts."""

from collections.abc import Sequence
from pathlib import Path

from ...stages.encoding.vocabulary import LIBRARIES, Vocabulary
from ...stages.sources.phrases import WORDNET
from ...stages.words import Words
from ...store import ConfigError
from ...store.paths import expanded, followed
from ..config import CONFIGS

_ALLOWED = f"{', '.join(LIBRARIES)}, {WORDNET} or a file"


def words_stage(
    names: str | Sequence[str], templates: tuple[str, ...], flag: str, beside: str = ""
) -> tuple[Words, dict[str, Path]]:
    """The stage that encodes vocabularies, and the paths of their files by part.

    `beside` is another run, whose model encodes them. ConfigError, which names the flag, if a file
    does not exist or a WordNet is not installed.
    """
    vocabularies: dict[str, Vocabulary] = {}
    files: dict[str, Path] = {}
    for name in (names,) if isinstance(names, str) else names:
        path = _find_file(name, flag)
        vocabulary = Vocabulary.of(name, path)
        vocabularies[vocabulary.part_name] = vocabulary
        if path is not None:
            files[vocabulary.part_name] = path
    if not vocabularies:
        raise ConfigError(f"{flag} must name a vocabulary ({_ALLOWED}), e.g. {flag} words.txt")
    stage = Words(templates=templates, vocabularies=tuple(vocabularies.values()), beside=beside)
    return stage, files


def _find_file(name: str, flag: str) -> Path | None:
    """The file of a vocabulary; None if a library provides it."""
    if name in LIBRARIES or name.partition(":")[0] == WORDNET:
        return None
    shipped = CONFIGS / name
    if shipped.is_file() and shipped.suffix == ".txt" and Path(name).name == name:
        return shipped
    path = expanded(name)
    if path.is_dir():
        raise ConfigError(f"{flag} {name!r} is a folder: name a file in it, or {_ALLOWED}")
    if not path.is_file():
        raise ConfigError(f"{flag} must be {_ALLOWED}: {name!r} does not exist")
    return followed(path)
