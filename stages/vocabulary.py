"""Words that clusters may be called by, and the prompts that they stand in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..store import ConfigError
from .encoder import Encoder

if TYPE_CHECKING:
    import numpy as np

    from .contract import Progress

DEFAULT_TEMPLATES = ("a photo of a {}.",)
"""CLIP's own prompt for names (arXiv 2103.00020, section 3.1.4)."""

NAMED_TEMPLATES = ("imagenet-7", "imagenet-80")
"""Names that stand for open_clip's lists of prompts, of that many."""

_TEXTS = 256
"""Texts that are encoded at once."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Candidate names, with embeddings where the file brought them along."""

    names: tuple[str, ...]
    embeddings: "np.ndarray | None" = None
    """(m, d), of the same model as the images'."""


def read_vocabulary(name: str, path: Path | None) -> Vocabulary:
    """A vocabulary by the name of the library's list, or from a file of the user's.

    A text file holds a phrase a line, lines that begin with # are comments; an .npz file holds
    `name` (m,) and their text embeddings `t` (m, d). ConfigError for anything else.
    """
    if path is not None:
        return _from_npz(path) if path.suffix == ".npz" else _from_text(path)
    if name == "imagenet":
        from open_clip import IMAGENET_CLASSNAMES

        return Vocabulary(names=tuple(dict.fromkeys(IMAGENET_CLASSNAMES)))
    assert name == "coco"
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return Vocabulary(names=tuple(one for one in names if one not in ("__background__", "N/A")))


def _from_text(path: Path) -> Vocabulary:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the vocabulary {path} cannot be read as text: {error}") from error
    phrases = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not phrases:
        raise ConfigError(f"the vocabulary {path} holds no phrase: write one a line")
    return Vocabulary(names=tuple(dict.fromkeys(phrases)))


def _from_npz(path: Path) -> Vocabulary:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            names, embeddings = file["name"], file["t"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"the vocabulary {path} is not an .npz with `name` and `t`: {error}"
        ) from error
    if names.ndim != 1 or embeddings.ndim != 2 or len(names) != len(embeddings):
        raise ConfigError(
            f"the vocabulary {path} holds name {names.shape} and t {embeddings.shape}: "
            "(m,) and (m, d) are needed"
        )
    return Vocabulary(
        names=tuple(str(one) for one in names), embeddings=embeddings.astype(np.float32)
    )


def expand_templates(templates: Sequence[str]) -> list[str]:
    """Prompts, each with one {} for the phrase; names of open_clip's lists become their prompts."""
    prompts: list[str] = []
    for one in templates or DEFAULT_TEMPLATES:
        if one in NAMED_TEMPLATES:
            import open_clip

            named = {
                "imagenet-7": open_clip.SIMPLE_IMAGENET_TEMPLATES,
                "imagenet-80": open_clip.OPENAI_IMAGENET_TEMPLATES,
            }
            prompts += [make("{}") for make in named[one]]
        elif one.count("{}") == 1:
            prompts.append(one)
        else:
            raise ConfigError(
                f"the template {one!r} is not allowed: a text with one {{}} for the phrase is, or "
                f"{' or '.join(NAMED_TEMPLATES)}"
            )
    return prompts


def embed_vocabulary(
    names: Sequence[str], templates: Sequence[str], encoder: Encoder, progress: "Progress"
) -> "np.ndarray":
    """Text embeddings (m, d) of names: the unit mean over the prompts, each of unit length."""
    import numpy as np

    prompts = expand_templates(templates)
    progress.start("caption: words", len(names), "phrases")
    rows = []
    step = max(1, _TEXTS // len(prompts))
    for start in range(0, len(names), step):
        some = names[start : start + step]
        texts = [prompt.replace("{}", name) for name in some for prompt in prompts]
        embedded = encoder.texts(texts).reshape(len(some), len(prompts), -1).mean(axis=1)
        rows.append(embedded / np.linalg.norm(embedded, axis=1, keepdims=True))
        progress.advance(len(some))
    return np.concatenate(rows)
