"""How good clusters are against labels, over all rows, beside chance and beside plain k-means."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..stages.gather import gather
from ..store import Artifact, ConfigError, MissingError

if TYPE_CHECKING:
    import numpy as np

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
class Evaluation:
    """Scores over every labelled row."""

    n: int
    unlabelled: int
    """Rows without a label, which are left out."""
    k: int
    classes: int
    clusters: Scores
    chance: Scores
    """The same cluster sizes dealt out blindly, mean of several deals."""
    kmeans: Scores
    """k-means with the same k on the centred raw embeddings."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def evaluate(
    embeddings: Artifact, assignments: Artifact, label: str, table: Path | None, seed: int = 0
) -> Evaluation:
    """Scores the assignments; labels are the shards' own, or those of a table of the user's.

    MissingError when no row has a label.
    """
    import numpy as np

    if table is None:
        labels = _own_labels(embeddings, label)
    else:
        by_key = _labels_of(table)
        labels = [by_key.get(key) for key in embeddings.column("key")]
    has_label = np.array([one is not None for one in labels])
    if not has_label.any():
        raise MissingError(_no_labels(embeddings, label, table))
    names = sorted({one for one in labels if one is not None})
    number = {name: i for i, name in enumerate(names)}
    y = np.array([number[one] for one in labels if one is not None])
    found = np.array(assignments.column("cluster"))[has_label]
    k = int(assignments.facts["k"])
    x = gather(embeddings)[has_label].astype(np.float32)
    return Evaluation(
        n=len(y),
        unlabelled=int((~has_label).sum()),
        k=k,
        classes=len(names),
        clusters=_scores(y, found),
        chance=_chance(y, found, seed),
        kmeans=_scores(y, _kmeans(x, min(k, len(y)), seed)),
    )


def _own_labels(embeddings: Artifact, label: str) -> list[str | None]:
    if label == "cls":
        return embeddings.column("label")
    values = [json.loads(text).get(label) for text in embeddings.column("extra")]
    return [None if value is None else str(value) for value in values]


def _labels_of(path: Path) -> Mapping[str, str]:
    import pyarrow.csv as csv
    import pyarrow.lib
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
        else:
            options = csv.ConvertOptions(column_types={"key": "string", "label": "string"})
            table = csv.read_csv(path, convert_options=options)
    except (OSError, pyarrow.lib.ArrowInvalid) as error:
        raise ConfigError(f"--labels {path} cannot be read as a table: {error}") from error
    if not {"key", "label"} <= set(table.column_names):
        raise ConfigError(
            f"--labels {path} has the columns {', '.join(table.column_names)}: "
            "`key` and `label` are needed"
        )
    keys, labels = table.column("key").to_pylist(), table.column("label").to_pylist()
    return {
        str(key): str(value) for key, value in zip(keys, labels, strict=True) if value is not None
    }


def _no_labels(embeddings: Artifact, label: str, table: Path | None) -> str:
    if table is not None:
        return f"no key of {table} is among the {embeddings.rows} rows of the run"
    first = embeddings.table(embeddings.parts[0].name, columns=["extra"]).column(0)[0].as_py()
    fields = ", ".join(json.loads(first)) or "none"
    return (
        f"no row has the label {label!r}: --label cls reads .cls members, --label FIELD a JSON "
        f"field (the first row has: {fields}), --labels FILE a table of key and label"
    )


def _scores(y: "np.ndarray", found: "np.ndarray") -> Scores:
    from ..stages.algorithms import metrics

    return Scores(
        acc=float(metrics.accuracy(y, found)),
        nmi=float(metrics.nmi(y, found)),
        ari=float(metrics.ari(y, found)),
    )


def _chance(y: "np.ndarray", found: "np.ndarray", seed: int) -> Scores:
    from ..stages.algorithms import metrics

    return Scores(**metrics.chance(y, found, seed=seed, repeats=_CHANCE_REPEATS))


def _kmeans(x: "np.ndarray", k: int, seed: int) -> "np.ndarray":
    import numpy as np
    from sklearn.cluster import KMeans, MiniBatchKMeans

    centred = x - x.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    if len(x) > _MINIBATCH_ROWS:
        return MiniBatchKMeans(k, n_init=3, random_state=seed).fit_predict(centred)
    return KMeans(k, n_init=10, random_state=seed).fit_predict(centred)
