"""The name of each slot's artifact in messages, and the command that makes it (again)."""

from collections.abc import Mapping
from typing import Any

from ..stages.rows.score_columns import IMAGE_SCORES
from ..store import Artifact, ConfigError
from ..store.kinds import SCORES
from ..store.slots import kind_of, split_slot

_NAMES: Mapping[str, tuple[str, str]] = {
    "embeddings": ("embeddings are", "embed"),
    "views": ("views are", "train"),
    "heads": ("heads are", "train"),
    "features": ("features are", "project"),
    "spectrum": ("the spectrum is", "spectrum"),
    "k_curve": ("the curve of coding lengths is", "select-k"),
    "hierarchy": ("the hierarchy is", "hierarchy"),
    "assignments": ("clusters are", "assign"),
    "assignments/levels": ("the levels of the hierarchy are", "serve"),
    "words": ("words are", "caption"),
    "words/guide": ("words of the guide are", "train"),
    "captions": ("captions are", "caption"),
    "fingerprints": ("fingerprints of images are", "duplicates --tier same"),
    "duplicates": ("duplicates are", "duplicates"),
    "duplicates/copies": ("copies of images are", "duplicates --tier same"),
    IMAGE_SCORES: ("the measurements of images are", "score"),
    "scores": ("the score {space} is", "score"),
    "edits": ("the sealed decisions {space} are", "edit seal --replace {space}"),
    "projection": ("the map is", "map"),
    "sprites": ("small images of the map are", "map"),
    "quantizer": ("the quantizer of {space} is", "index"),
    "lists": ("the lists of {space} are", "index"),
    "index": ("the index of {space} is", "index"),
}
"""The beginning of a sentence and the command that makes the artifact, by slot or kind."""


def _copies_threshold() -> float:
    from ..stages.copies import Copies  # loads NumPy

    return Copies.threshold


_FLAGS: Mapping[str, Mapping[str, Any]] = {
    "duplicates": {"threshold": ("--above", None)},
    "duplicates/copies": {"tier": ("--tier", None), "threshold": ("--above", _copies_threshold)},
    "projection": {
        "method": ("--method", "tsne"),
        "space": ("--space", "features"),
        "rows": ("--rows", 10_000),
        "seed": ("--seed", 0),
    },
}
"""The flags that a command needs to make the same artifact again, with their defaults, or functions
that return these. All other settings are in the run."""


_NAMED_FREELY = ("embeddings", "assignments", "scores", "edits")
"""Kinds whose slots end in a name that is not known here: another run, a version, a score, what is
sealed."""

_OF_A_SPACE = ("quantizer", "lists", "index")
"""Kinds that have a slot for each space that can be searched."""


def require_slot(slot: str) -> None:
    """ConfigError, which lists the slots of its kind, where no run has such a slot."""
    from ..stages.indexing.vectors import SPACES  # loads NumPy

    kind = kind_of(slot).name
    known = [name for name in _NAMES if split_slot(name)[0] == kind]
    if kind in _OF_A_SPACE:
        known = [f"{kind}/{space}" for space in SPACES]
    if kind not in _NAMED_FREELY and slot not in known:
        raise ConfigError(f"a run has no slot {slot!r}: name {' or '.join(known)}")


def name_slot(slot: str) -> str:
    """The artifact of a slot with its verb: "captions are"."""
    kind, space = split_slot(slot)
    return (_NAMES.get(slot) or _NAMES[kind])[0].format(space=space)


def command_to_make(slot: str) -> list[str]:
    """The words of the command that fills a slot; `status` if none is known."""
    kind, space = split_slot(slot)
    _, command = _NAMES.get(slot) or _NAMES.get(kind) or ("", "status")
    return [word.format(space=space) for word in command.split()]


def command_to_renew(slot: str, artifact: Artifact) -> list[str]:
    """The words of the command that makes the artifact of a slot again."""
    words = command_to_make(slot)
    kind, _ = split_slot(slot)
    if kind == SCORES.name:
        return [*words, *_flags_of_scores(artifact)]
    if slot in _FLAGS:
        words = words[:1]  # without the tier, which is added below if it is needed
    for name, (flag, default) in _FLAGS.get(slot, {}).items():
        if callable(default):
            default = default()
        value = artifact.manifest.config.get(name, default)
        if value != default:
            words += [flag, str(value)]
    return words


def _flags_of_scores(artifact: Artifact) -> list[str]:
    """The flags that make scores by a text or a head again; scores by pixels need none."""
    config = artifact.manifest.config
    words = ["--name", str(config["score"])] if "score" in config else []
    for name, flag in (("text", "--text"), ("unlike", "--not")):
        if config.get(name) is not None:
            words += [flag, str(config[name])]
    if "head_sha256" in config:
        files = (part.facts.get("head") for part in artifact.parts)
        words += ["--head", str(next(files, None) or "FILE.safetensors")]
    return words
