"""One recipe with one seed: clusters of all rows, and their scores."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from ...store import Artifact
from ..making.plan import Plan
from ..view.evaluation import Scores, evaluate

_SLOTS = ("heads", "features", "spectrum", "assignments")
"""What a recipe makes of the embeddings."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The scores of one recipe with one seed, 0 to 1, over all labelled rows."""

    recipe: str
    seed: int
    rows: int
    k: int
    """The number of clusters; fewer than were asked for where pieces were joined."""
    clusters: Scores
    kmeans: Scores
    chance: Scores
    seconds: float
    """What the work took when it was done; without embedding and scoring."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run_trial(plan: Plan, embeddings: Artifact, recipe: str, seed: int) -> Trial:
    """The scores of a run's clusters of these embeddings, which are made where they are missing."""
    plan.store.runs.update(
        plan.run,
        versions={"embeddings": embeddings.version},
        settings=plan.settings.tables(),
    )
    made = {slot: plan.make(slot, asked_by="reproduce") for slot in _SLOTS}
    evaluation = evaluate(
        embeddings, made["assignments"], plan.settings.data.label, None, seed=seed
    )
    return Trial(
        recipe=recipe,
        seed=seed,
        rows=evaluation.n,
        k=evaluation.k,
        clusters=evaluation.clusters,
        kmeans=evaluation.kmeans,
        chance=evaluation.chance,
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
