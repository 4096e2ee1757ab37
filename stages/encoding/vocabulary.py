"""Vocabularies: the words that may name clusters, and the prompts they are embedded with."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...store import Artifact, ConfigError
from ...store.counting import agreeing, counted
from ...store.digest import digest_file, digest_json
from ...store.files import store_errors, write_array, written_whole
from ...store.integrity import parsing
from ..sources.phrases import (
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
from ..sources.shards import part_name
from .encoder import Encoder

if TYPE_CHECKING:
    import torch

    from ..contract import Progress

LIBRARIES = {IMAGENET: "open_clip_torch", COCO: "torchvision"}
"""Vocabularies that come with a package, whose version identifies their words."""

DEFAULT_TEMPLATES = ("a photo of a {}.",)
"""CLIP's own prompt for names (arXiv 2103.00020, section 3.1.4)."""

NAMED_TEMPLATES = ("imagenet-7", "imagenet-80")
"""Names of open_clip's lists of 7 and 80 prompts."""

_TEXTS = 256
"""Texts encoded at once."""

_SHOWN = 80
"""Most characters of a phrase in a message."""

_KEPT_BATCHES = 8
"""Batches of texts between two saves: the most that a killed process loses."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A list of words, identified before it is read."""

    name: str
    """A library's name for its list, or the name of a file without its folders."""
    identity: str
    """What decides its words: a package's version, a lexicon, or the digest of a file."""

    @classmethod
    def of(cls, name: str, path: Path | None = None) -> "Vocabulary":
        """A vocabulary by its name, or a user's file; ConfigError for an unknown name."""
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
        """Its words, from `path` if it is a file. ConfigError if they cannot be read.

        ConfigError, too, if the file is no longer the one that was identified.
        """
        if path is not None:
            phrases = of_file(path)
            if digest_file(path) != self.identity:
                raise ConfigError(
                    f"the vocabulary {path} was changed while it was used: run the command again"
                )
            return phrases
        return of_library(self.name) if self.name in LIBRARIES else of_wordnet(self.identity)


def check_templates(templates: Sequence[str]) -> None:
    """ConfigError for a template that is neither a prompt with one {} nor the name of a list."""
    for template in templates:
        if template not in NAMED_TEMPLATES and template.count("{}") != 1:
            raise ConfigError(
                "a template must be a text with exactly one {} for the phrase, or "
                f"{' or '.join(NAMED_TEMPLATES)}, got {template!r}"
            )


def expand_templates(templates: Sequence[str]) -> list[str]:
    """Prompts with one {} for the phrase; the name of a list becomes all its prompts."""
    check_templates(templates)
    prompts: list[str] = []
    for template in templates or DEFAULT_TEMPLATES:
        if template in NAMED_TEMPLATES:
            import open_clip

            lists = {
                "imagenet-7": open_clip.SIMPLE_IMAGENET_TEMPLATES,
                "imagenet-80": open_clip.OPENAI_IMAGENET_TEMPLATES,
            }
            prompts += [make("{}") for make in lists[template]]
        else:
            prompts.append(template)
    return prompts


def embed_phrases(
    names: Sequence[str],
    templates: Sequence[str],
    encoder: Encoder,
    progress: "Progress",
    checkpoints: Path,
) -> np.ndarray:
    """Text embeddings (m, d) of names: the mean of unit embeddings over all prompts, unit length.

    Blocks of embeddings are saved in the folder `checkpoints`, and read from there after a restart.
    """
    prompts = expand_templates(templates)
    longest = max(prompts, key=len)
    cut = encoder.cut_texts([longest.replace("{}", name) for name in names])
    if cut:
        progress.report(
            f"words: {len(cut):,} of {counted(len(names), 'phrase')} "
            f"{agreeing(len(cut), 'is', 'are')} longer than the model reads, which leaves out the "
            f"rest, e.g. of {cut[0][:_SHOWN]!r}"
        )
    progress.start("words", len(names), "phrases")
    step = max(1, _TEXTS // len(prompts))
    blocks = []
    for start in range(0, len(names), step * _KEPT_BATCHES):
        block = names[start : start + step * _KEPT_BATCHES]
        path = checkpoints / f"{start}.npy"
        if path.is_file():
            with parsing(path):
                blocks.append(np.load(path, allow_pickle=False))
            progress.advance(len(block))
            continue
        rows = []
        for first in range(0, len(block), step):
            rows.append(_embed(block[first : first + step], prompts, encoder))
            progress.advance(len(rows[-1]))
        blocks.append(np.concatenate(rows))
        _save(path, blocks[-1])
    return np.concatenate(blocks)


def _embed(names: Sequence[str], prompts: Sequence[str], encoder: Encoder) -> np.ndarray:

    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    rows = encoder.texts(texts).reshape(len(names), len(prompts), -1).mean(axis=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _save(path: Path, rows: np.ndarray) -> None:
    """Writes a block of embeddings, whole or not at all."""
    with store_errors(f"writing {path}"), written_whole(path) as temporary:
        write_array(temporary, rows)


class Candidates(NamedTuple):
    """Distinct words with their embeddings."""

    names: list[str]
    t: "torch.Tensor"
    """Unit rows (m, d), float32, on the device."""


def read_words(words: Artifact, device: str) -> Candidates:
    """The words of all vocabularies; a word in several counts for the first of them."""
    import torch

    names, blocks = words.column("name"), [words.embeddings(part.name) for part in words.parts]
    kept = first_of_each(names)
    t = torch.from_numpy(np.concatenate(blocks)[kept].astype(np.float32))
    t = torch.nn.functional.normalize(t, dim=1)
    return Candidates([names[row] for row in kept], t.to(device))
