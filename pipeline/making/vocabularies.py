"""The vocabularies that settings name: found before any work, and where their files lie."""

from collections.abc import Sequence
from pathlib import Path

from ...stages.sources.phrases import WORDNET
from ...stages.vocabulary import LIBRARIES, Vocabulary
from ...stages.words import Words
from ...store import ConfigError
from ..config import CONFIGS

_ALLOWED = f"{', '.join(LIBRARIES)}, {WORDNET} or a file"


def words_stage(
    named: str | Sequence[str], templates: tuple[str, ...], flag: str
) -> tuple[Words, dict[str, Path]]:
    """The stage that encodes named vocabularies, and where files lie, by the part they become.

    Raises ConfigError, which names the flag, for a file that is not there, or a WordNet that is not
    installed.
    """
    vocabularies: dict[str, Vocabulary] = {}
    files: dict[str, Path] = {}
    for name in (named,) if isinstance(named, str) else named:
        path = _find_file(name, flag)
        found = Vocabulary.of(name, path)
        vocabularies[found.part_name] = found
        if path is not None:
            files[found.part_name] = path
    if not vocabularies:
        raise ConfigError(
            f"no vocabulary is named: {flag}, which is {_ALLOWED}, such as {flag} words.txt"
        )
    stage = Words(templates=templates, vocabularies=tuple(vocabularies.values()))
    return stage, files


def _find_file(name: str, flag: str) -> Path | None:
    """The file of a vocabulary, None where a library carries it."""
    if name in LIBRARIES or name.partition(":")[0] == WORDNET:
        return None
    shipped = CONFIGS / name
    if shipped.is_file() and shipped.suffix == ".txt" and Path(name).name == name:
        return shipped
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"{flag}, which is {_ALLOWED}: {name!r} is no file that is there")
    return path.resolve()
