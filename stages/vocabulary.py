"""Words that clusters may be called by, and the prompts that they stand in."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..store import Artifact, ConfigError
from ..store.digest import digest_file, digest_json
from ..store.files import store_errors, sync, temporary_sibling
from .encoder import Encoder
from .sources.phrases import (
    COCO,
    IMAGENET,
    WORDNET,
    Phrases,
    first_of_each,
    of_file,
    of_library,
    of_wordnet,
    wordnet_lexicon,
)
from .sources.shards import part_name

if TYPE_CHECKING:
    import torch

    from .contract import Progress

LIBRARIES = {IMAGENET: "open_clip_torch", COCO: "torchvision"}
"""Vocabularies that come with a package, whose version says which words they hold."""

DEFAULT_TEMPLATES = ("a photo of a {}.",)
"""CLIP's own prompt for names (arXiv 2103.00020, section 3.1.4)."""

NAMED_TEMPLATES = ("imagenet-7", "imagenet-80")
"""Names that stand for open_clip's lists of prompts, of that many."""

_TEXTS = 256
"""Texts that are encoded at once."""

_KEPT_BATCHES = 8
"""Batches of texts that an encoding which is killed loses at most."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A list of words, known before it is read."""

    name: str
    """Of a library's list, or of a file without its folders."""
    identity: str
    """What decides its words: a package's version, a lexicon, or the digest of a file."""

    @classmethod
    def of(cls, name: str, path: Path | None = None) -> "Vocabulary":
        """A vocabulary by its name, or a file of the user's; ConfigError where there is none."""
        if path is not None:
            return cls(name=path.name, identity=digest_file(path))
        if name in LIBRARIES:
            package = LIBRARIES[name]
            return cls(name=name, identity=f"{package} {importlib.metadata.version(package)}")
        lexicon = wordnet_lexicon(name)
        return cls(name=f"{WORDNET}:{lexicon}", identity=lexicon)

    @property
    def part_name(self) -> str:
        """The name of the part that its words become."""
        return part_name(self.name, digest_json(self.identity))

    def read(self, path: Path | None) -> Phrases:
        """Its words; `path` is where its file lies. ConfigError where they cannot be read."""
        if path is not None:
            return of_file(path)
        return of_library(self.name) if self.name in LIBRARIES else of_wordnet(self.identity)


def check_templates(templates: Sequence[str]) -> None:
    """ConfigError for one that is no prompt with one {} and no name of a list."""
    for one in templates:
        if one not in NAMED_TEMPLATES and one.count("{}") != 1:
            raise ConfigError(
                f"the template {one!r} is not allowed: a text with one {{}} for the phrase is, or "
                f"{' or '.join(NAMED_TEMPLATES)}"
            )


def expand_templates(templates: Sequence[str]) -> list[str]:
    """Prompts, each with one {} for the phrase; names of open_clip's lists become their prompts."""
    check_templates(templates)
    prompts: list[str] = []
    for one in templates or DEFAULT_TEMPLATES:
        if one in NAMED_TEMPLATES:
            import open_clip

            named = {
                "imagenet-7": open_clip.SIMPLE_IMAGENET_TEMPLATES,
                "imagenet-80": open_clip.OPENAI_IMAGENET_TEMPLATES,
            }
            prompts += [make("{}") for make in named[one]]
        else:
            prompts.append(one)
    return prompts


def embed_phrases(
    names: Sequence[str],
    templates: Sequence[str],
    encoder: Encoder,
    progress: "Progress",
    kept: Path,
) -> np.ndarray:
    """Text embeddings (m, d) of names: the unit mean over the prompts, each of unit length.

    What is encoded is kept in the folder `kept`, block by block, and found there again.
    """
    prompts = expand_templates(templates)
    progress.start("words", len(names), "phrases")
    step = max(1, _TEXTS // len(prompts))
    blocks = []
    for start in range(0, len(names), step * _KEPT_BATCHES):
        some, path = names[start : start + step * _KEPT_BATCHES], kept / f"{start}.npy"
        if path.is_file():
            blocks.append(np.load(path, allow_pickle=False))
            progress.advance(len(some))
            continue
        rows = []
        for at in range(0, len(some), step):
            rows.append(_embed(some[at : at + step], prompts, encoder))
            progress.advance(len(rows[-1]))
        blocks.append(np.concatenate(rows))
        _save(path, blocks[-1])
    return np.concatenate(blocks)


def _embed(names: Sequence[str], prompts: Sequence[str], encoder: Encoder) -> np.ndarray:

    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    rows = encoder.texts(texts).reshape(len(names), len(prompts), -1).mean(axis=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _save(path: Path, rows: np.ndarray) -> None:
    """Writes what is encoded so far, whole or not at all."""
    with store_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_sibling(path)
        with temporary.open("wb") as file:
            np.save(file, rows, allow_pickle=False)
        sync(temporary)
        temporary.replace(path)


class Candidates(NamedTuple):
    """Words that differ."""

    names: list[str]
    t: "torch.Tensor"
    """(m, d) in float32, of unit length, on the device."""


def read_words(words: Artifact, device: str) -> Candidates:
    """The words of all vocabularies; one that stands in several is that of the first."""
    import torch

    names, blocks = words.column("name"), [words.embeddings(part.name) for part in words.parts]
    kept = first_of_each(names)
    t = torch.from_numpy(np.concatenate(blocks)[kept].astype(np.float32))
    t = torch.nn.functional.normalize(t, dim=1)
    return Candidates([names[place] for place in kept], t.to(device))
