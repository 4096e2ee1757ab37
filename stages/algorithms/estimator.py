"""CPP as an estimator of scikit-learn: what the stages do one after another, without a store."""

import time
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float16, Float32, Int, Shaped
from numpy import ndarray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ...store.errors import ConfigError
from .clustering.choice import Choice, choose
from .clustering.code_lengths import Ruler
from .clustering.consensus import Consensus
from .clustering.landmarks import (
    AffinityName,
    Assigner,
    Landmarks,
    clustering_rows,
    fit_landmarks,
    usual_k_max,
)
from .clustering.memberships import Memberships
from .clustering.novelty import fit_known, novelty
from .clustering.sampling import CANDIDATES, choose_landmarks, choose_rows
from .early_stopping import train
from .training import project
from .training_config import TrainingConfig

CLUSTERINGS = 24
"""Base clusterings whose consensus links the landmarks: the default of the stage `spectrum`."""
ETA = 0.1
"""Temperature of the membership among landmarks: the default of the stage `spectrum`."""
MEASURED = 50_000
"""Rows whose code is measured, at most: the default of the stage `select-k`."""
EPS_SQ = 0.1
"""ε² at which it is measured: the default of the stage `select-k`."""
BLOCK = 4096
"""Rows that go through the heads, and into clusters, at once: bounds the memory."""
ROUNDED = 1e-3
"""How far from 1 the length of a unit row is, at most, whose numbers were rounded to float16."""


class CPP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Clusters of embeddings by the principle of rate reduction, and how many there are.

    Rows are whitened by their near neighbours, and two small heads may be trained from there;
    clusters are what several k-means of refined rows agree on, or are read off the paper's
    membership. Their number is the one that makes the shortest code, or has the highest BIC. The
    command line does the same with a store: equal settings and rows give equal clusters.

    Rows are told apart by their directions, as embeddings of CLIP are. Columns of other kinds want
    a `StandardScaler` in front. A row of zeros is allowed.

    Parameters
    ----------
    n_clusters : int or "auto"
        "auto" takes the number with the shortest code, from 2; or that with the highest BIC of
        k-means, where the code saves little and these clusters have too few rows for it to see. A
        given number comes out smaller where the affinity does not tell so many apart, as among
        rows of which fewer are distinct.
    features : int
        Columns of the refined rows, as many as `X` has at most.
    hidden : int
        Width of the heads' trunk, if they are trained.
    epochs, batch, lr
        Length of the training, rows of a step, and learning rate of both heads. With no epochs the
        heads stay where they start; trained ones are kept only where that is clearly better.
    eta : float
        Temperature of the membership in training.
    affinity : {"auto", "consensus", "membership"}
        What links rows: how often base clusterings put them together, or the paper's membership.
        "auto" takes the one that makes the shorter code.
    landmarks : int
        Rows that eigenvectors are computed for, at most; the places of others follow from them.
    resamples : int
        Curves of resampled landmarks, which show how sure the number of clusters is.
    normalize : bool
        Takes rows to unit length and rounds them to float16, as the store does. Else rows are
        taken as they are, and told apart by their directions from the mean.
    random_state : int, RandomState or None
        An int is the seed of the stages.
    device : str
        Where torch computes.
    verbose : bool
        Prints what is being done, and the seconds that it took.

    Attributes
    ----------
    labels_ : (n,) int32
        The cluster of each row, equal to `predict(X)`.
    confidence_ : (n,) float32
        How sure that is, from 0 to 1.
    n_clusters_ : int
        How many clusters there are.
    k_curve_ : dict of arrays, or None where `n_clusters` is a number
        A column a key, as in `pandas.DataFrame(k_curve_)`: `k`; `coding_length_nats`; `low_nats`,
        `high_nats` and `votes` of the resampled curves (NaN without any); whether the k is
        `as_good` as the one with the `shortest` code; and whether it is the `chosen` one.
    affinity_ : "consensus" or "membership"
        What links rows.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    References
    ----------
    "Image Clustering via the Principle of Rate Reduction in the Age of Pretrained Models"
    (CPP, arXiv 2306.05272).

    Examples
    --------
    >>> import numpy as np
    >>> from cpp_pipe import CPP
    >>> noise = np.random.default_rng(0).normal(scale=0.3, size=(90, 8))
    >>> X = np.eye(3, 8)[np.arange(90) % 3] + 0.3 * noise
    >>> found = CPP(random_state=0).fit(X)
    >>> found.n_clusters_
    3
    >>> found.predict(X[:6]).tolist() == found.labels_[:6].tolist()
    True
    """

    def __init__(
        self,
        n_clusters: int | Literal["auto"] = "auto",
        *,
        features: int = TrainingConfig.features,
        hidden: int = TrainingConfig.hidden,
        epochs: int = TrainingConfig.epochs,
        batch: int = TrainingConfig.batch,
        lr: float = TrainingConfig.lr,
        eta: float = TrainingConfig.eta,
        affinity: AffinityName = "auto",
        landmarks: int = 10_000,
        resamples: int = 8,
        normalize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.n_clusters: int | Literal["auto"] = n_clusters
        self.features = features
        self.hidden = hidden
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.eta = eta
        self.affinity: AffinityName = affinity
        self.landmarks = landmarks
        self.resamples = resamples
        self.normalize = normalize
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "CPP":
        """Trains the heads on the rows of X, and clusters these; `y` is ignored.

        ValueError for a setting that is not allowed. NumericError where training diverges.
        """
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        self._check(len(X))
        x, seed = self._directions(X), _seed(self.random_state)
        said = _Said(bool(self.verbose))
        trainer, stopping = train(
            torch.from_numpy(x), self._training_config(x.shape[1], seed), self.device
        )
        self._heads = trainer.finish()
        said.done(f"heads of {len(x):,} rows, kept from step {stopping.kept_step}")
        self._heads.zero_grad()  # gradients would be as large as the weights
        z, c = self._project(x)
        landmarks = self._fit_landmarks(x, z, c, seed)
        said.done(f"{len(landmarks.z):,} landmarks")
        if self.n_clusters == "auto":
            found = _measure(landmarks, x, z, c, int(self.resamples), seed)
            k, self.k_curve_ = found.k, _curve(found)
            said.done(f"the number of clusters, {k} by {found.rule}")
        else:
            k, self.k_curve_ = int(self.n_clusters), None
            if isinstance(landmarks.affinity, Memberships):
                k = min(k, len(landmarks.values))
        partition = landmarks.partition(k)
        said.done(f"{partition.k} clusters")
        self._assigner = Assigner(landmarks, [partition])
        self._known = fit_known(landmarks.x, seed)
        self._n_features_out = z.shape[1]
        is_consensus = isinstance(landmarks.affinity, Consensus)
        self.affinity_ = "consensus" if is_consensus else "membership"
        self.n_clusters_ = partition.k
        self.labels_, self.confidence_ = self._assign(z, c)
        return self

    def predict(self, X: Any) -> Int[ndarray, " n"]:
        """The cluster of each row, whether it was fitted or not."""
        return self._assign(*self._project(self._rows(X)))[0]

    def confidence(self, X: Any) -> Float32[ndarray, " n"]:
        """How sure the cluster of each row is, from 0 to 1."""
        return self._assign(*self._project(self._rows(X)))[1]

    def transform(self, X: Any) -> Float32[ndarray, "n p"]:
        """Refined features: rows of unit length, where clusters lie near different subspaces."""
        return self._project(self._rows(X))[0].astype(np.float32)

    def novelty(self, X: Any) -> Float32[ndarray, " n"]:
        """How far each row is from all that were fitted: above 1 is farther than these are."""
        return novelty(self._rows(X).astype(np.float32), self._known)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _check(self, n: int) -> None:
        """Settings of which the config knows nothing."""
        self._require(
            "affinity", self.affinity in get_args(AffinityName), f"one of {get_args(AffinityName)}"
        )
        self._require("landmarks", _is_whole(self.landmarks, 2), "a whole number from 2")
        self._require("resamples", _is_whole(self.resamples, 0), "a whole number from 0")
        k, most = self.n_clusters, min(n, self.landmarks)
        is_allowed = k == "auto" if isinstance(k, str) else _is_whole(k, 1) and int(k) <= most
        self._require("n_clusters", is_allowed, f"auto, or a whole number from 1 to {most}")

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise ConfigError(f"{name} is {getattr(self, name)!r}; allowed: {allowed}")

    def _training_config(self, d: int, seed: int) -> TrainingConfig:
        names = ("features", "hidden", "epochs", "batch", "lr", "eta")
        settings: dict[str, Any] = {name: _plain(getattr(self, name)) for name in names}
        config = TrainingConfig(**settings, lr_cluster=settings["lr"], seed=seed)
        return replace(config, features=min(config.features, d))

    def _rows(self, X: Any) -> Shaped[ndarray, "n d"]:
        """Rows to be told, as those that were fitted were."""
        check_is_fitted(self, "labels_")
        return self._directions(validate_data(self, X, dtype=np.float32, reset=False))

    def _directions(self, X: ndarray) -> Shaped[ndarray, "n d"]:
        if not self.normalize:
            return X.copy()  # torch warns of arrays that cannot be written
        blocks = [X[start : start + BLOCK] for start in range(0, len(X), BLOCK)]
        return np.concatenate([unit_float16(one) for one in blocks])

    def _project(self, x: ndarray) -> tuple[ndarray, ndarray]:
        z, c = project(self._heads, torch.from_numpy(x), BLOCK)
        return z.numpy(), c.numpy()

    def _assign(self, z: ndarray, c: ndarray) -> tuple[ndarray, ndarray]:
        blocks = [slice(start, start + BLOCK) for start in range(0, len(z), BLOCK)]
        assigner = self._assigner
        made = [assigner.assign(assigner.points_of(z[one], c[one]))[0] for one in blocks]
        clusters, confidences = zip(*made, strict=True)
        return np.concatenate(clusters), np.concatenate(confidences)

    def _fit_landmarks(self, x: ndarray, z: ndarray, c: ndarray, seed: int) -> Landmarks:
        n, most = len(z), int(self.landmarks)
        candidates = choose_rows(n, CANDIDATES * most, seed)
        points = clustering_rows(z[candidates], c[candidates])
        chosen = choose_landmarks(points, most, seed)
        rows = candidates[chosen]
        found = fit_landmarks(
            points[chosen],
            z[rows].astype(np.float32),
            x[rows].astype(np.float32),
            affinity=self.affinity,
            k_max=self._k_max(n),
            clusterings=CLUSTERINGS,
            eta=ETA,
            seed=seed,
            device=self.device,
            needs_spectrum=bool(self.n_clusters == "auto"),
        )
        # Rounded as in the store.
        vectors = np.ascontiguousarray(found.vectors, np.float32)
        return replace(found, values=found.values.astype(np.float32), vectors=vectors)

    def _k_max(self, n: int) -> int:
        usual = usual_k_max(n, int(self.landmarks))
        if self.n_clusters == "auto" or self.n_clusters <= usual:
            return usual
        # Some more, so that pieces of one group can be told from clusters.
        k = int(self.n_clusters)
        return min(k + k // 2, n, int(self.landmarks))


class _Said:
    """Prints steps and their seconds, where it is asked for."""

    def __init__(self, is_asked: bool) -> None:
        self._is_asked, self._since = is_asked, time.monotonic()

    def done(self, what: str) -> None:
        """A step that is done."""
        now = time.monotonic()
        if self._is_asked:
            print(f"[CPP] {what}: {now - self._since:.1f} s")
        self._since = now


def unit_float16(x: Float32[ndarray, "n d"]) -> Float16[ndarray, "n d"]:
    """Rows of unit length, rounded; a row of zeros stays. Unit rows that are rounded already stay.

    Each row is first divided by its largest entry, so that no square overflows or vanishes.
    """
    largest = np.abs(x).max(1, keepdims=True)
    scaled = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = np.divide(scaled, length, out=scaled, where=length > 0).astype(np.float16)
    # Taken to unit length once more, they would be rounded twice.
    as_given = np.clip(x, -1, 1).astype(np.float16)
    is_unit = np.abs(length * largest.astype(np.float64) - 1) < ROUNDED
    return np.where(is_unit & (as_given == x).all(1, keepdims=True), as_given, unit)


def _measure(
    landmarks: Landmarks, x: ndarray, z: ndarray, c: ndarray, resamples: int, seed: int
) -> Choice:
    """The number of clusters, and what tells it."""
    sample = choose_rows(len(z), MEASURED, seed)
    points = clustering_rows(z[sample], c[sample])
    rows = z[sample].astype(np.float32)
    ruler = Ruler.of(landmarks, rows, points, total=len(z), eps_sq=EPS_SQ)
    return choose(ruler, points, x[sample].astype(np.float32), resamples=resamples, seed=seed)


def _curve(found: Choice) -> dict[str, ndarray]:
    """The columns of `k_curve_`; a band of NaN where there is none."""
    has_band = len(found.resampled) > 0
    band = found.resampled if has_band else np.full((1, len(found.grid)), np.nan)
    return {
        "k": np.array(found.grid),
        "coding_length_nats": np.array(found.lengths),
        "low_nats": band.min(0),
        "high_nats": band.max(0),
        "votes": np.array(found.verdict.votes) if has_band else band[0],
        "as_good": np.isin(found.grid, found.verdict.as_good),
        "shortest": np.equal(found.grid, found.verdict.chosen),
        "chosen": np.equal(found.grid, found.k),
    }


def _seed(random_state: int | np.random.RandomState | None) -> int:
    generator = check_random_state(random_state)
    return int(random_state if isinstance(random_state, Integral) else generator.randint(2**31))


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _plain(value: Any) -> Any:
    """A number of NumPy, as a search over settings draws it, as one of Python."""
    return value.item() if isinstance(value, np.generic) else value
