"""Near-duplicates of a run, found once for each similarity."""

from ...stages.duplicates import Duplicates, default_threshold
from ...store import Artifact
from ..making.plan import Plan


def make_duplicates(plan: Plan, threshold: float | None, *, asked_by: str = "") -> Artifact:
    """The groups of near-duplicates of a run; `threshold` None is that of its model.

    `asked_by` names the command that needs them, if it is not `duplicates`. Missing embeddings are
    made first.
    """
    embeddings = plan.make("embeddings", asked_by=asked_by or "duplicates")
    if threshold is None:
        threshold = default_threshold(embeddings.facts["model"])
    return plan.make("duplicates", stage=Duplicates(threshold=threshold), asked_by=asked_by)
