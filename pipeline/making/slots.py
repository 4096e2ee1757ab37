"""The stage that fills each slot of a run, chosen by the settings.

The plan chooses the stages of slots that need more than settings: `embeddings` (the sources),
`embeddings/RUN` (another run) and those of an index (the number of rows).
"""

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...stages.caption import Caption
from ...stages.contract import Stage
from ...stages.draw_sprites import DrawSprites
from ...stages.encoding.models.loaded_model import require_texts
from ...stages.fingerprint import Fingerprint
from ...stages.indexing.vectors import SPACES
from ...stages.map import Map
from ...stages.measure import Measure
from ...stages.project import Project, ProjectViews
from ...stages.rows.other_runs import OTHER
from ...stages.rows.score_columns import IMAGE_SCORES
from ...stages.train import TrainOnViews
from ...stages.views import GUIDE, Views
from ...store import ConfigError
from ..config import Settings
from .index_stages import INDEX_KINDS
from .vocabularies import words_stage


class SlotStage(NamedTuple):
    """The stage that fills a slot, and the local files that it reads."""

    stage: Stage
    files: Mapping[str, Path]
    """The paths by their names in `Runtime.files`."""


def choose_stage(slot: str, settings: Settings) -> SlotStage:
    """The stage of a slot and its files; ConfigError if one of the files does not exist."""
    return _STAGES[slot](settings)


def require_makeable(slot: str) -> None:
    """ConfigError, which lists the slots that can be made, if this one cannot."""
    index_slots = [f"{kind}/{space}" for kind in INDEX_KINDS for space in SPACES]
    known = ["embeddings", *_STAGES, *index_slots]
    if not isinstance(slot, str) or (slot not in known and not slot.startswith(OTHER)):
        raise ConfigError(
            f"{reprlib.repr(slot)} cannot be made: choose one of {', '.join(known)}; projection is "
            "the map"
        )


def _words(settings: Settings) -> SlotStage:
    caption = settings.caption
    return SlotStage(
        *words_stage(caption.vocabulary, caption.templates, "--vocabulary", caption.beside)
    )


def _guide(settings: Settings) -> SlotStage:
    views = settings.views
    return SlotStage(*words_stage(views.guide, views.templates, "--guide"))


def _captions(settings: Settings) -> SlotStage:
    _, files = _words(settings)  # raises now if a file is missing, before any work
    caption, levels = settings.caption, settings.assign.method == "hierarchy"
    if not caption.beside:
        require_texts(settings.embed.model)
    stage = Caption(rule=caption.rule, top=caption.top, levels=levels, beside=caption.beside)
    return SlotStage(stage, files)


def _views(settings: Settings) -> SlotStage:
    views = settings.views
    if views.guide:
        require_texts(settings.embed.model)
        _guide(settings)  # raises now if a file is missing, before any work
    return SlotStage(
        Views(guide_share=views.guide_share if views.guide else 0.0, beside=views.beside), {}
    )


def _heads(settings: Settings) -> SlotStage:
    train = settings.train
    return SlotStage(TrainOnViews(**vars(train)) if settings.views.is_any else train, {})


def _features(settings: Settings) -> SlotStage:
    return SlotStage(ProjectViews() if settings.views.is_any else Project(), {})


_STAGES: Mapping[str, Callable[[Settings], SlotStage]] = {
    GUIDE: _guide,
    "views": _views,
    "heads": _heads,
    "features": _features,
    "spectrum": lambda settings: SlotStage(settings.spectrum, {}),
    "k_curve": lambda settings: SlotStage(settings.select_k, {}),
    "hierarchy": lambda settings: SlotStage(settings.merge, {}),
    "assignments": lambda settings: SlotStage(settings.assign, {}),
    "words": _words,
    "captions": _captions,
    "projection": lambda settings: SlotStage(Map(), {}),
    "sprites": lambda settings: SlotStage(DrawSprites(), {}),
    "fingerprints": lambda settings: SlotStage(Fingerprint(), {}),
    IMAGE_SCORES: lambda settings: SlotStage(Measure(), {}),
}
"""The function that chooses the stage of each slot."""
