"""One recipe with one seed: clusters of all rows, and their scores."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from ...store import Artifact
from ..making.plan import Plan
from ..view.evaluation import Scores
from .scoring import ClassedRows

_SLOTS = ("heads", "features", "spectrum", "assignments")
"""The slots that a recipe fills."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The scores of one recipe with one seed, 0 to 1, over all labelled rows."""

    run: str
    """Its name in the store."""
    recipe: str
    seed: int
    rows: int
    k: int
    """The number of clusters; fewer than requested if pieces were joined."""
    clusters: Scores
    chance: Scores
    seconds: float
    """Seconds that the steps took when they were made, without embedding and scoring."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run_trial(plan: Plan, rows: ClassedRows, base: str, recipe: str, seed: int) -> Trial:
    """The scores of a run's clusters of these embeddings; makes the clusters if they are missing.

    The run shows the images of the run `base`, which holds the embeddings. Heads and spectrum are
    fitted to all current rows, also if they were fitted to fewer rows before.
    """
    record = plan.store.runs.read(base)
    plan.store.refer(
        plan.run,
        {"embeddings": rows.embeddings.version},
        settings=plan.settings.tables(),
        sources=record.sources,
        stamps=record.stamps,
    )
    made = {slot: plan.make(slot) for slot in _SLOTS}
    clusters, chance = rows.score(made["assignments"], seed)
    return Trial(
        run=plan.run,
        recipe=recipe,
        seed=seed,
        rows=len(rows.y),
        k=next(iter(made["assignments"].facts["clusters"].values())),
        clusters=clusters,
        chance=chance,
        seconds=round(sum(_seconds(artifact) for artifact in made.values()), 1),
    )


def _seconds(artifact: Artifact) -> float:
    seconds = artifact.manifest.made_by.get("seconds")
    return seconds if isinstance(seconds, int | float) else 0.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A score over several seeds, in per cent."""

    mean: float
    spread: float | None
    """The standard deviation; None for one seed."""

    def __str__(self) -> str:
        mean = round(self.mean, 1) + 0.0  # not -0.0
        return f"{mean:.1f}" + ("" if self.spread is None else f" ± {self.spread:.1f}")


def figures(scores: Sequence[Scores]) -> tuple[Figure, Figure, Figure]:
    """ACC, NMI and ARI over seeds."""

    def figure(values: Sequence[float]) -> Figure:
        percent = [100 * value for value in values]
        return Figure(mean=fmean(percent), spread=stdev(percent) if len(percent) > 1 else None)

    return (
        figure([score.acc for score in scores]),
        figure([score.nmi for score in scores]),
        figure([score.ari for score in scores]),
    )
