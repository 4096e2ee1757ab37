"""The slots of a run and the stage that fills each of them, as the settings ask for it.

Three slots need more than settings and are decided by the plan: `embeddings` (the sources),
`embeddings/RUN` (another run) and those of an index (the number of rows).
"""

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
from .indexing import INDEX_KINDS
from .vocabularies import words_stage


class Filling(NamedTuple):
    """The stage that fills a slot, and the local files that it reads."""

    stage: Stage
    files: Mapping[str, Path]
    """By the names that `Runtime.files` has."""


def filling_of(slot: str, settings: Settings) -> Filling:
    """What fills a slot; ConfigError where a file that the settings name does not exist."""
    return FILLINGS[slot](settings)


def require_makeable(slot: str) -> None:
    """ConfigError, which lists what can be made, where a slot is none of that."""
    own = [f"{kind}/{space}" for kind in INDEX_KINDS for space in SPACES]
    known = ["embeddings", *FILLINGS, *own]
    if slot not in known and not slot.startswith(OTHER):
        raise ConfigError(
            f"{slot!r} cannot be made: what can be is {', '.join(known)}; projection is the map"
        )


def _words(settings: Settings) -> Filling:
    caption = settings.caption
    return Filling(
        *words_stage(caption.vocabulary, caption.templates, "--vocabulary", caption.beside)
    )


def _guide(settings: Settings) -> Filling:
    views = settings.views
    return Filling(*words_stage(views.guide, views.templates, "--guide"))


def _captions(settings: Settings) -> Filling:
    _, files = _words(settings)  # so that a missing file costs no work
    caption, levels = settings.caption, settings.assign.method == "hierarchy"
    if not caption.beside:
        require_texts(settings.embed.model)
    stage = Caption(rule=caption.rule, top=caption.top, levels=levels, beside=caption.beside)
    return Filling(stage, files)


def _views(settings: Settings) -> Filling:
    views = settings.views
    if views.guide:
        require_texts(settings.embed.model)
        _guide(settings)  # so that a missing file costs no work
    return Filling(
        Views(guide_share=views.guide_share if views.guide else 0.0, beside=views.beside), {}
    )


def _heads(settings: Settings) -> Filling:
    train = settings.train
    return Filling(TrainOnViews(**vars(train)) if settings.views.is_any else train, {})


def _features(settings: Settings) -> Filling:
    return Filling(ProjectViews() if settings.views.is_any else Project(), {})


FILLINGS: Mapping[str, Callable[[Settings], Filling]] = {
    GUIDE: _guide,
    "views": _views,
    "heads": _heads,
    "features": _features,
    "spectrum": lambda settings: Filling(settings.spectrum, {}),
    "k_curve": lambda settings: Filling(settings.select_k, {}),
    "hierarchy": lambda settings: Filling(settings.merge, {}),
    "assignments": lambda settings: Filling(settings.assign, {}),
    "words": _words,
    "captions": _captions,
    "projection": lambda settings: Filling(Map(), {}),
    "sprites": lambda settings: Filling(DrawSprites(), {}),
    "fingerprints": lambda settings: Filling(Fingerprint(), {}),
    IMAGE_SCORES: lambda settings: Filling(Measure(), {}),
}
