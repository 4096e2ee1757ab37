"""Makes the groups of near-duplicates and copies of a run."""

from dataclasses import replace

from ...stages.copies import Copies
from ...stages.duplicates import Duplicates, default_threshold
from ...store import Artifact, ConfigError
from ..making.plan import Plan

TIERS = ("identical", "same", "alike")
"""Files of equal bytes; copies of one image; images with similar embeddings."""

COPIES = "duplicates/copies"
"""The slot of the first two tiers; that of `alike` is `duplicates`."""


def make_tier(plan: Plan, tier: str, threshold: float | None, *, asked_by: str = "") -> Artifact:
    """The groups of a tier; without `threshold` by its default. ConfigError for another tier."""
    if tier not in TIERS:
        raise ConfigError(f"--tier must be {', '.join(TIERS)}, got {tier!r}")
    if tier == "alike":
        return make_duplicates(plan, threshold, asked_by=asked_by)
    if tier == "identical" and threshold is not None:
        raise ConfigError("--above does not go with --tier identical, where bytes are compared")
    stage = Copies(tier="identical" if tier == "identical" else "same")
    if threshold is not None:
        stage = replace(stage, threshold=threshold)
    above = () if threshold is None else ("--above", str(threshold))
    plan = replace(plan, make_command=("duplicates", "--tier", tier, *above))
    return plan.make(COPIES, stage=stage, asked_by=asked_by)


def make_duplicates(plan: Plan, threshold: float | None, *, asked_by: str = "") -> Artifact:
    """The groups of near-duplicates of a run; without `threshold` by that of its model.

    `asked_by` is the command that needs them, if it is not `duplicates`. Makes missing embeddings
    first.
    """
    embeddings = plan.make("embeddings", asked_by=asked_by or "duplicates")
    if threshold is None:
        threshold = default_threshold(embeddings.facts["model"])
    plan = replace(plan, make_command=("duplicates", "--above", str(threshold)))
    return plan.make("duplicates", stage=Duplicates(threshold=threshold), asked_by=asked_by)
