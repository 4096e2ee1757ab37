"""How good clusters are against labels, beside chance and beside plain k-means."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...stages.artifact_rows import gather
from ...store import Artifact, ConfigError, MissingError
from .labels import Scope, fitted_rows, no_labels, read_labels

if TYPE_CHECKING:
    import numpy as np

_EVERYTHING = Scope()

_MINIBATCH_ROWS = 100_000
"""Rows over which k-means is fitted on mini-batches."""

_CHANCE_REPEATS = 10


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Accuracy (best matching of clusters to classes), and mutual information, both 0 to 1."""

    acc: float
    nmi: float
    ari: float


@dataclass(frozen=True, kw_only=True)
class ClusterRow:
    """One cluster, as far as its rows are scored."""

    cluster: int
    size: int
    purity: float
    """Share of its rows that are of its majority class."""
    majority: str


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Rows of one class in a cluster that is not matched with it."""

    label: str
    """Their class."""
    cluster: int
    matched: str | None
    """The class that the cluster is matched with; None where it is left over."""
    rows: int
    share: float
    """Of the rows of the class."""


@dataclass(frozen=True, kw_only=True)
class Decile:
    """A tenth of the rows, by confidence."""

    confidence: float
    """The mean."""
    accuracy: float
    purity: float
    """Share of rows that are of the majority class of their cluster."""
    rows: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores over the labelled rows of a part."""

    part: str
    where: str | None
    n: int
    unlabelled: int
    """Rows of the part without a label, which are left out."""
    k: int
    """Clusters that there are; fewer than were asked for where pieces were joined."""
    classes: int
    clusters: Scores
    chance: Scores
    """The same cluster sizes dealt out blindly, mean of several deals."""
    kmeans: Scores
    """k-means with the same k on the centred raw embeddings."""
    per_cluster: tuple[ClusterRow, ...]
    """Those that have rows, in rising order of their numbers."""
    mistakes: tuple[Mistake, ...]
    """All of them, the largest first."""
    deciles: tuple[Decile, ...]
    """In rising order of confidence; fewer than ten rows are a decile each."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def evaluate(
    embeddings: Artifact,
    assignments: Artifact,
    label: str,
    table: Path | None,
    seed: int = 0,
    *,
    k: int | None = None,
    scope: Scope = _EVERYTHING,
    fitted: Collection[str] | None = None,
) -> Evaluation:
    """Scores the assignments; labels are the shards' own, or those of a table of the user's.

    `fitted` names what the clusters were fitted on, as `fitted_parts` gives it: k-means is fitted
    on the same rows, and without it on the rows that are scored. MissingError when no row has a
    label, ConfigError when there is no column for `k`.
    """
    import numpy as np

    from ...stages.algorithms import metrics

    k, cluster, confidence = _columns(assignments, k)
    within = scope.rows(embeddings, fitted)
    labels = np.array(read_labels(embeddings, label, table), dtype=object)
    scored = within & np.array([one is not None for one in labels])
    if not scored.any():
        raise MissingError(no_labels(embeddings, label, table, int(within.sum())))
    names = sorted(set(labels[scored]))
    number = {name: i for i, name in enumerate(names)}
    y = np.array([number[one] for one in labels[scored]])
    pred = np.array(assignments.column(cluster))[scored]
    x = gather(embeddings)
    fit = scored if fitted is None else fitted_rows(embeddings, fitted)
    return Evaluation(
        part=scope.part,
        where=scope.where,
        n=len(y),
        unlabelled=int((within & ~scored).sum()),
        k=k,
        classes=len(names),
        clusters=_scores(y, pred),
        chance=Scores(**metrics.chance(y, pred, seed=seed, repeats=_CHANCE_REPEATS)),
        kmeans=_scores(y, _kmeans(x[fit], x[scored], k, seed)),
        per_cluster=_per_cluster(y, pred, names),
        mistakes=_mistakes(y, pred, names),
        deciles=_deciles(y, pred, np.array(assignments.column(confidence))[scored]),
    )


def _columns(assignments: Artifact, k: int | None) -> tuple[int, str, str]:
    """How many clusters there are where k were asked for, and where clusters and confidences are.

    None stands for the first k.
    """
    there = {int(asked): count for asked, count in assignments.facts["clusters"].items()}
    first = next(iter(there))
    if k is None or k == first:
        return there[first], "cluster", "confidence"
    if k not in there:
        raise ConfigError(
            f"--k {k} is not allowed: the assignments {assignments.version} have columns for "
            f"k = {', '.join(map(str, there))} (`cpp-pipe assign` with several k makes more)"
        )
    return there[k], f"cluster_{k}", f"confidence_{k}"


def _scores(y: "np.ndarray", pred: "np.ndarray") -> Scores:
    from ...stages.algorithms import metrics

    return Scores(acc=metrics.accuracy(y, pred), nmi=metrics.nmi(y, pred), ari=metrics.ari(y, pred))


def _per_cluster(y: "np.ndarray", pred: "np.ndarray", names: list[str]) -> tuple[ClusterRow, ...]:
    from ...stages.algorithms import metrics

    found = metrics.by_cluster(y, pred)
    return tuple(
        ClusterRow(cluster=cluster, size=size, purity=purity, majority=names[majority])
        for cluster, size, purity, majority in _rows(
            found.cluster, found.size, found.purity, found.majority
        )
    )


def _mistakes(y: "np.ndarray", pred: "np.ndarray", names: list[str]) -> tuple[Mistake, ...]:
    from ...stages.algorithms import metrics

    found = metrics.mistakes(y, pred)
    matched = {cluster: names[i] for cluster, i in metrics.matching(y, pred).items()}
    return tuple(
        Mistake(label=names[i], cluster=j, matched=matched.get(j), rows=count, share=share)
        for i, j, count, share in _rows(found.label, found.cluster, found.count, found.share)
    )


def _deciles(y: "np.ndarray", pred: "np.ndarray", confidence: "np.ndarray") -> tuple[Decile, ...]:
    from ...stages.algorithms import metrics

    found = metrics.by_confidence(y, pred, confidence)
    return tuple(
        Decile(confidence=mean, accuracy=accuracy, purity=purity, rows=count)
        for mean, accuracy, purity, count in _rows(
            found.confidence, found.accuracy, found.purity, found.count
        )
    )


def _rows(*columns: "np.ndarray") -> Iterator[tuple[Any, ...]]:
    """Rows of plain values, as JSON can hold them."""
    return zip(*(column.tolist() for column in columns), strict=True)


def _kmeans(fit: "np.ndarray", x: "np.ndarray", k: int, seed: int) -> "np.ndarray":
    """Clusters of the rows of x, by k-means that is fitted on other rows or on the same."""
    import numpy as np
    from sklearn.cluster import KMeans, MiniBatchKMeans

    mean = fit.mean(axis=0, dtype=np.float32)

    def centred(rows: "np.ndarray") -> "np.ndarray":
        rows = rows.astype(np.float32) - mean
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    k = min(k, len(fit))
    if len(fit) > _MINIBATCH_ROWS:
        kmeans = MiniBatchKMeans(k, n_init=3, random_state=seed)
    else:
        kmeans = KMeans(k, n_init=10, random_state=seed)
    return kmeans.fit(centred(fit)).predict(centred(x))
