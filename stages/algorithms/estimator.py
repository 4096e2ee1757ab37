"""CPP as a scikit-learn estimator: the work of the stages, without a store."""

import reprlib
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
from .clustering.code_lengths import Ruler
from .clustering.consensus import Consensus
from .clustering.k_choice import KChoice, choose_k
from .clustering.k_max import usual_k_max
from .clustering.landmarks import (
    AffinityName,
    Assigner,
    Landmarks,
    clustering_rows,
    fit_landmarks,
)
from .clustering.memberships import Memberships
from .clustering.novelty import fit_known, novelty
from .clustering.sampling import CANDIDATES, choose_landmarks, choose_rows
from .early_stopping import train
from .training import project
from .training_config import TrainingConfig

CLUSTERINGS = 24
"""Base clusterings of the consensus: the default of the stage `spectrum`."""
ETA = 0.1
"""Temperature of the membership among landmarks: the default of the stage `spectrum`."""
MEASURED = 50_000
"""Rows whose code is measured, at most: the default of the stage `select-k`."""
EPS_SQ = 0.1
"""ε² of the code: the default of the stage `select-k`."""
BLOCK = 4096
"""Rows projected and assigned at once: bounds the memory."""
ROUNDED = 1e-3
"""Largest difference from 1 of the length of a unit row after rounding to float16."""


class CPP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Cluster embeddings by the principle of rate reduction, and choose the number of clusters.

    Rows are whitened by their near neighbours; two small heads can be trained from there. Clusters
    are the consensus of several k-means on the refined rows, or come from the paper's membership.
    Their number is the one with the shortest code, or with the highest BIC. The command line does
    the same with a store: equal settings and rows give equal clusters.

    Rows are compared by their directions, as CLIP embeddings are. Scale other kinds of columns
    first, e.g. with a `StandardScaler`. A row may be all zeros.

    Parameters
    ----------
    n_clusters : int or "auto"
        Number of clusters. "auto" takes the number, from 2, with the shortest code; or the one with
        the highest BIC of k-means, if the code saves little and BIC's clusters are too small for
        it to see. The result can be smaller than a given number, e.g. if there are fewer distinct
        rows.
    features : int
        Number of columns of the refined rows; at most the number of columns of `X`.
    hidden : int
        Width of the heads' trunk, if they are trained.
    epochs : int
        Epochs of training. With 0, the heads keep their initial weights. Trained heads are only
        kept if they are clearly better.
    batch : int
        Rows per training step.
    lr : float
        Learning rate of both heads.
    eta : float
        Temperature of the membership in training.
    affinity : {"auto", "consensus", "membership"}
        Affinity of rows: how often base clusterings put them together, or the paper's membership.
        "auto" takes the one with the shorter code.
    landmarks : int
        Maximum number of rows whose eigenvectors are computed; all others follow from them.
    resamples : int
        Number of curves with resampled landmarks, which show how certain the number of clusters is,
        and do not change it. Eight, as `select-k` has them, take a quarter of the time of a fit.
    normalize : bool
        Whether to scale rows to unit length and round them to float16, as the store does. Otherwise
        rows are used as given, and compared by their directions from the mean.
    random_state : int, RandomState instance or None
        Source of randomness. An int is used as the seed of the stages.
    device : str
        Torch device for the computation.
    verbose : bool
        Whether to print each step and the seconds that it took.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int32
        Cluster of each row, equal to `predict(X)`.
    confidence_ : ndarray of shape (n_samples,), float32
        Confidence of each label, from 0 to 1.
    n_clusters_ : int
        Number of clusters.
    k_curve_ : dict of ndarray, or None if `n_clusters` is an int
        Columns of a table with a row for each k that was tried, e.g. for `pandas.DataFrame`: `k`;
        `coding_length_nats`; `low_nats`, `high_nats` and `votes` of the resampled curves (NaN
        without any); whether the k is `as_good` as the one with the `shortest` code; and whether it
        is the `chosen` one.
    affinity_ : {"consensus", "membership"}
        The affinity that was used.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of `X`, if they are all strings.

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
    >>> model = CPP(random_state=0).fit(X)
    >>> model.n_clusters_
    3
    >>> model.predict(X[:6]).tolist() == model.labels_[:6].tolist()
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
        resamples: int = 0,
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
        """Fits the heads and the clusters to the rows of `X`; `y` is ignored.

        Raises ValueError for an invalid parameter, and NumericError if training diverges.
        """
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        self._check(len(X))
        x, seed = self._directions(X), _seed(self.random_state)
        timer = _StepTimer(bool(self.verbose))
        trainer, stopping = train(
            torch.from_numpy(x), self._training_config(x.shape[1], seed), self.device
        )
        self._heads = trainer.finish()
        timer.finish(f"heads of {len(x):,} rows, kept from step {stopping.kept_step}")
        self._heads.zero_grad()  # gradients would be as large as the weights
        z, c = self._project(x)
        landmarks = self._fit_landmarks(x, z, c, seed)
        timer.finish(f"{len(landmarks.z):,} landmarks")
        if self.n_clusters == "auto":
            choice = _measure(landmarks, x, z, c, int(self.resamples), seed)
            k, self.k_curve_ = choice.k, _curve(choice)
            timer.finish(f"the number of clusters, {k} by {choice.rule}")
        else:
            k, self.k_curve_ = int(self.n_clusters), None
            if isinstance(landmarks.affinity, Memberships):
                k = min(k, len(landmarks.values))
        partition = landmarks.partition(k)
        timer.finish(f"{partition.k} clusters")
        self._assigner = Assigner(landmarks, [partition])
        self._known = fit_known(landmarks.x, seed)
        self._n_features_out = z.shape[1]
        is_consensus = isinstance(landmarks.affinity, Consensus)
        self.affinity_ = "consensus" if is_consensus else "membership"
        self.n_clusters_ = partition.k
        self.labels_, self.confidence_ = self._assign(z, c)
        return self

    def predict(self, X: Any) -> Int[ndarray, " n"]:
        """The cluster of each row; rows need not be among the fitted ones."""
        return self._assign(*self._project(self._rows(X)))[0]

    def confidence(self, X: Any) -> Float32[ndarray, " n"]:
        """The confidence of each row's cluster, from 0 to 1."""
        return self._assign(*self._project(self._rows(X)))[1]

    def transform(self, X: Any) -> Float32[ndarray, "n p"]:
        """Refined features: unit rows, whose clusters lie near different subspaces."""
        return self._project(self._rows(X))[0].astype(np.float32)

    def novelty(self, X: Any) -> Float32[ndarray, " n"]:
        """Distance from all fitted rows; above 1 is farther than nearly all of these."""
        return novelty(self._rows(X).astype(np.float32), self._known)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _check(self, n: int) -> None:
        """ConfigError for an invalid parameter; `TrainingConfig` checks the others."""
        names = " or ".join(map(repr, get_args(AffinityName)))
        is_name = isinstance(self.affinity, str) and self.affinity in get_args(AffinityName)
        self._require("affinity", is_name, names)
        self._require("landmarks", _is_whole(self.landmarks, 2), "a whole number of at least 2")
        self._require("resamples", _is_whole(self.resamples, 0), "a whole number of at least 0")
        k, most = self.n_clusters, min(n, self.landmarks)
        is_allowed = k == "auto" if isinstance(k, str) else _is_whole(k, 1) and int(k) <= most
        self._require("n_clusters", is_allowed, f"'auto' or a whole number from 1 to {most}")
        for name in ("normalize", "verbose"):
            is_switch = isinstance(getattr(self, name), bool | np.bool_ | Integral)
            self._require(name, is_switch, "True or False")
        self._require("device", _has_device(self.device), "a device of torch that is there")

    def _require(self, name: str, is_allowed: bool, required: str) -> None:
        if not is_allowed:
            value = reprlib.repr(getattr(self, name))
            raise ConfigError(f"{name} must be {required}, got {value}")

    def _training_config(self, d: int, seed: int) -> TrainingConfig:
        names = ("features", "hidden", "epochs", "batch", "lr", "eta")
        settings: dict[str, Any] = {name: _plain(getattr(self, name)) for name in names}
        config = TrainingConfig(**settings, lr_cluster=settings["lr"], seed=seed)
        return replace(config, features=min(config.features, d))

    def _rows(self, X: Any) -> Shaped[ndarray, "n d"]:
        """New rows, checked and prepared as the fitted ones were."""
        check_is_fitted(self, "labels_")
        return self._directions(validate_data(self, X, dtype=np.float32, reset=False))

    def _directions(self, X: ndarray) -> Shaped[ndarray, "n d"]:
        if not self.normalize:
            return X.copy()  # torch warns about read-only arrays
        blocks = [X[start : start + BLOCK] for start in range(0, len(X), BLOCK)]
        return np.concatenate([unit_float16(block) for block in blocks])

    def _project(self, x: ndarray) -> tuple[ndarray, ndarray]:
        z, c = project(self._heads, torch.from_numpy(x), BLOCK)
        return z.numpy(), c.numpy()

    def _assign(self, z: ndarray, c: ndarray) -> tuple[ndarray, ndarray]:
        blocks = [slice(start, start + BLOCK) for start in range(0, len(z), BLOCK)]
        assigner = self._assigner
        assigned = [assigner.assign(assigner.points_of(z[rows], c[rows]))[0] for rows in blocks]
        clusters, confidences = zip(*assigned, strict=True)
        return np.concatenate(clusters), np.concatenate(confidences)

    def _fit_landmarks(self, x: ndarray, z: ndarray, c: ndarray, seed: int) -> Landmarks:
        n, most = len(z), int(self.landmarks)
        candidates = choose_rows(n, CANDIDATES * most, seed)
        points = clustering_rows(z[candidates], c[candidates])
        chosen = choose_landmarks(points, most, seed)
        rows = candidates[chosen]
        landmarks = fit_landmarks(
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
        # The store rounds these to float32.
        vectors = np.ascontiguousarray(landmarks.vectors, np.float32)
        return replace(landmarks, values=landmarks.values.astype(np.float32), vectors=vectors)

    def _k_max(self, n: int) -> int:
        usual = usual_k_max(n, int(self.landmarks))
        if self.n_clusters == "auto" or self.n_clusters <= usual:
            return usual
        # Some more, so that pieces of one group can be distinguished from clusters.
        k = int(self.n_clusters)
        return min(k + k // 2, n, int(self.landmarks))


class _StepTimer:
    """Prints finished steps and their seconds, if `is_verbose`."""

    def __init__(self, is_verbose: bool) -> None:
        self._is_verbose, self._since = is_verbose, time.monotonic()

    def finish(self, step: str) -> None:
        """Ends a step, and starts the next."""
        now = time.monotonic()
        if self._is_verbose:
            print(f"[CPP] {step}: {now - self._since:.1f} s")
        self._since = now


def unit_float16(x: Float32[ndarray, "n d"]) -> Float16[ndarray, "n d"]:
    """Rows scaled to unit length and rounded; zero rows and already rounded unit rows stay.

    Each row is first divided by its largest entry, so that no square over- or underflows.
    """
    largest = np.abs(x).max(1, keepdims=True)
    scaled = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = np.divide(scaled, length, out=scaled, where=length > 0).astype(np.float16)
    # Scaling rounded unit rows again would round them twice.
    as_given = np.clip(x, -1, 1).astype(np.float16)
    is_unit = np.abs(length * largest.astype(np.float64) - 1) < ROUNDED
    return np.where(is_unit & (as_given == x).all(1, keepdims=True), as_given, unit)


def _measure(
    landmarks: Landmarks, x: ndarray, z: ndarray, c: ndarray, resamples: int, seed: int
) -> KChoice:
    """The choice of the number of clusters."""
    sample = choose_rows(len(z), MEASURED, seed)
    points = clustering_rows(z[sample], c[sample])
    rows = z[sample].astype(np.float32)
    ruler = Ruler.of(landmarks, rows, points, total=len(z), eps_sq=EPS_SQ)
    return choose_k(ruler, x[sample].astype(np.float32), resamples=resamples, seed=seed)


def _curve(choice: KChoice) -> dict[str, ndarray]:
    """The columns of `k_curve_`; NaN for the band without resampled curves."""
    has_band = len(choice.resampled) > 0
    band = choice.resampled if has_band else np.full((1, len(choice.grid)), np.nan)
    return {
        "k": np.array(choice.grid),
        "coding_length_nats": np.array(choice.lengths),
        "low_nats": band.min(0),
        "high_nats": band.max(0),
        "votes": np.array(choice.verdict.votes) if has_band else band[0],
        "as_good": np.isin(choice.grid, choice.verdict.as_good),
        "shortest": np.equal(choice.grid, choice.verdict.chosen),
        "chosen": np.equal(choice.grid, choice.k),
    }


def _seed(random_state: int | np.random.RandomState | None) -> int:
    try:
        generator = check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "random_state must be None, a RandomState or a whole number from 0 to 2**32 - 1, got "
            f"{reprlib.repr(random_state)}"
        ) from error
    return int(random_state if isinstance(random_state, Integral) else generator.randint(2**31))


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _has_device(device: Any) -> bool:
    try:
        torch.empty(1, device=device)
    # The last is raised by torch without CUDA.
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return False
    return device is not None  # which torch takes for its default


def _plain(value: Any) -> Any:
    """A value as a Python number if it is NumPy's, which a parameter search may draw."""
    return value.item() if isinstance(value, np.generic) else value
