"""Scores of the images of a run: their slots and their numbers."""

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...stages.rows.score_columns import IMAGE_SCORES, MEASURED
from ...store import ConfigError, MissingError
from ...store.kinds import SCORES
from ...store.slots import split_slot
from .columns import read_column
from .opened_run import OpenedRun

if TYPE_CHECKING:
    import numpy as np


def slots_of_scores(run: OpenedRun) -> Mapping[str, str]:
    """The slot of every score that the run holds, current or not, by the score's name."""
    slots: dict[str, str] = {}
    for slot in run.slots.names:
        kind, name = split_slot(slot)
        if kind == SCORES.name:
            slots |= dict.fromkeys(MEASURED, slot) if slot == IMAGE_SCORES else {name: slot}
    return slots


def read_score(run: OpenedRun, name: str) -> "np.ndarray":
    """A score of each image, float32 (n,); NaN if an image could not be read.

    ConfigError for an unknown name, MissingError for one that is not made yet or out of date, with
    the command that makes it.
    """
    import numpy as np

    slots = slots_of_scores(run)
    slot = slots.get(name) if isinstance(name, str) else None
    if slot is None:
        if isinstance(name, str) and name in MEASURED:
            raise MissingError(f"{name} is not measured yet: run `{run.command('score')}`")
        names = ", ".join([*MEASURED, *(other for other in slots if other not in MEASURED)])
        raise ConfigError(f"the run has no score {reprlib.repr(name)}; it has {names}")
    return read_column(run.require_current(slot), name).astype(np.float32, copy=False)
