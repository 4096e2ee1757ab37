"""Seals the decisions of a run as an artifact, which later decisions do not change."""

import reprlib

from ...stages.seal import Seal
from ...store import Artifact, ConfigError, MissingError
from ...store.names import is_plain_name
from ..making.plan import Plan
from ..view.applied_edits import OPEN, SLOT, current_assignments, find_carried, read_edits
from ..view.opened_run import OpenedRun


def seal(plan: Plan, name: str, *, replaces: bool = False) -> Artifact:
    """The decisions of the log, applied to the current clusters and sealed under a name.

    ConfigError for an impossible name, and if other decisions have this name, unless this call
    `replaces` them. MissingError if there are no decisions, or if the clusters are not current.
    """
    if not is_plain_name(name) or not name.isprintable() or name == OPEN:
        raise ConfigError(
            f"NAME must be a plain name other than {OPEN!r}, got {reprlib.repr(name)}"
        )
    run = OpenedRun.open(plan.store, plan.run)
    edits, assignments = read_edits(run), current_assignments(run)
    if not edits:
        raise MissingError(
            f"run {plan.run!r} has no decisions to seal: `cpp-pipe edit --help` lists how to make "
            "some"
        )
    carried = find_carried(plan.store, edits, assignments)
    slot, stage = f"{SLOT}{name}", Seal(edits=tuple(edits), carried=carried)
    sealed_version = run.record.versions.get(slot)
    if sealed_version is not None and not replaces:
        job = plan.job(slot, stage=stage, asked_by=slot)
        if stage.recipe(stage.parts(job.inputs, job.runtime)).version != sealed_version:
            raise ConfigError(
                f"other decisions are sealed as {name!r}: choose another name, or --replace them"
            )
    return plan.make(slot, stage=stage)
