"""The estimator keeps scikit-learn's contract, finds what is planted, agrees with the stages."""

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cpp_pipe import CPP
from cpp_pipe.pipeline.config import Settings
from cpp_pipe.stages.algorithms import estimator
from cpp_pipe.stages.algorithms.estimator import unit_float16
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.stages.select_k import SelectK
from cpp_pipe.stages.spectrum import Spectrum
from cpp_pipe.store import Artifact, NumericError, Store

from ..shards import write_shards
from ..world import SETTINGS, plan_of

QUICK: dict[str, Any] = {"hidden": 64, "epochs": 4, "resamples": 2, "random_state": 0}


def blobs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, y, *_ = make_blobs(n, 10, centers=5, random_state=seed)
    return x, y


def subspaces(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n rows near four subspaces of three dimensions in 24, through the origin."""
    generator = np.random.default_rng(seed)
    bases = [np.linalg.qr(generator.standard_normal((24, 3)))[0] for _ in range(4)]
    y = np.arange(n) % 4
    x = np.stack([bases[one] @ generator.standard_normal(3) for one in y])
    return x + 0.02 * generator.standard_normal(x.shape), y


# scikit-learn's requirements.


@pytest.mark.slow
@parametrize_with_checks([CPP(**QUICK)])
def test_scikit_learns_estimator_checks_pass(estimator: CPP, check: Any) -> None:
    check(estimator)


def test_the_example_runs() -> None:
    found = doctest.testmod(estimator)
    assert found.attempted > 0
    assert found.failed == 0


def test_defaults_are_those_of_the_stages() -> None:
    model, spectrum, select_k = CPP(), Spectrum(), SelectK()
    assert (model.landmarks, model.affinity) == (spectrum.landmarks, spectrum.affinity)
    assert (spectrum.clusterings, spectrum.eta) == (estimator.CLUSTERINGS, estimator.ETA)
    assert spectrum.k_max == 0
    assert select_k.rows == estimator.MEASURED
    assert model.resamples == 0, "they change no cluster; select-k draws their band"
    assert select_k.eps_sq == estimator.EPS_SQ
    assert select_k.grid == ()


def test_a_pipeline_clusters_columns_of_any_scale() -> None:
    x, y = blobs(150)
    model = make_pipeline(StandardScaler(), CPP(**QUICK))
    labels = model.fit_predict(x * 10.0 ** np.arange(10))
    assert adjusted_rand_score(y, labels) > 0.95
    assert np.array_equal(model.predict(x * 10.0 ** np.arange(10)), labels)
    names = [f"cpp{i}" for i in range(10)]
    assert model.get_feature_names_out().tolist() == names
    frame = model.set_output(transform="default").transform(x)
    assert frame.shape == (150, 10)
    assert frame.dtype == np.float32


# Clusters.


def test_blobs_are_found_with_their_number_and_new_rows_join_them() -> None:
    x, y = blobs(300)
    model = CPP(**QUICK).fit(x[:200])
    assert model.n_clusters_ == 5
    assert adjusted_rand_score(y[:200], model.labels_) == 1
    joined = np.concatenate([model.labels_, model.predict(x[200:])])
    assert adjusted_rand_score(y, joined) == 1
    curve = model.k_curve_
    assert curve is not None
    assert curve["k"][curve["chosen"]].tolist() == [5]
    assert curve["k"][curve["coding_length_nats"].argmin()] == 5
    assert (curve["low_nats"] <= curve["high_nats"]).all()
    assert curve["votes"].sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", [0, 1])
def test_subspaces_are_found_with_their_number(seed: int) -> None:
    x, y = subspaces(240, seed)
    model = CPP(affinity="membership", **QUICK).fit(x)
    assert model.affinity_ == "membership"
    assert model.n_clusters_ == 4
    assert adjusted_rand_score(y, model.labels_) > 0.95


def test_the_same_seed_gives_the_same_clusters_and_predicts_its_own_rows() -> None:
    x, _ = blobs(80)
    model = CPP(4, **QUICK).fit(x)
    again = clone(model).fit(x)
    assert model.k_curve_ is None
    assert np.array_equal(model.labels_, again.labels_)
    assert np.array_equal(model.transform(x), again.transform(x))
    assert np.array_equal(model.labels_, model.predict(x))
    assert np.array_equal(model.confidence_, model.confidence(x))
    drawn = [CPP(4, **QUICK).set_params(random_state=np.random.RandomState(3)) for _ in range(2)]
    first, second = (one.fit(x).transform(x) for one in drawn)
    assert np.array_equal(first, second)


def test_rows_far_from_the_fitted_ones_are_novel() -> None:
    x, _ = blobs(120)
    model = CPP(5, **QUICK).fit(x)
    assert np.mean(model.novelty(x) <= 1) > 0.9
    x -= x.mean(0)
    beside = np.linalg.svd(x)[2][-1:]  # the direction in which no blob lies
    assert model.novelty(100 * beside) > np.quantile(model.novelty(x), 0.9)


@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("n", [2, 3, 9])
@pytest.mark.parametrize("n_clusters", ["auto", 2])
def test_few_rows_are_clustered(n: int, d: int, n_clusters: Any) -> None:
    x = np.random.default_rng(0).standard_normal((n, d))
    model = CPP(n_clusters, **QUICK).fit(x)
    assert sorted(set(model.labels_)) == list(range(model.n_clusters_))
    assert model.transform(x).shape == (n, d)


def test_there_are_no_more_clusters_than_distinct_rows() -> None:
    x = np.eye(4)[np.arange(40) % 4]
    x[x[:, 3] == 1] = 0
    model = CPP(9, **QUICK).fit(x)
    assert model.n_clusters_ == 4
    assert len(set(model.labels_)) == 4
    assert adjusted_rand_score(np.arange(40) % 4, model.labels_) == 1
    assert CPP(**QUICK).fit(np.ones((10, 3))).n_clusters_ == 1


# Rounding.


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 5)),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_unit_rows_are_not_rounded_twice(x: np.ndarray) -> None:
    unit = unit_float16(x)
    length = np.linalg.norm(unit.astype(np.float32), axis=1)
    assert np.allclose(length, (x != 0).any(1), atol=1e-3)
    again = unit_float16(unit.astype(np.float32))
    assert np.array_equal(unit, again)


# Invalid parameters.


@pytest.mark.parametrize(
    "bad",
    [
        *ParameterGrid({"n_clusters": [0, 21, 2.0, "many", True, None]}),
        *ParameterGrid({"landmarks": [1, None]}),
        {"n_clusters": 4, "landmarks": 3},
        {"resamples": -1},
        {"affinity": "cosine"},
        {"features": 0},
        {"lr": 0.0},
        {"eta": 0.0},
    ],
    ids=str,
)
def test_an_invalid_parameter_is_named(bad: dict[str, Any]) -> None:
    model = CPP(**bad)
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be .*, got "):
        model.fit(np.eye(20))


def test_parameters_may_be_numpy_numbers() -> None:
    x, _ = blobs(20)
    values = {"n_clusters": np.int64(2), "features": np.int64(3), "lr": np.float32(1e-4)}
    model = CPP(**QUICK).set_params(**values, landmarks=np.int64(20)).fit(x)
    assert model.transform(x).shape == (20, 3)


def test_verbose_prints_each_step_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    x, _ = blobs(60)
    silent = CPP(3, **QUICK).fit(x)
    assert capsys.readouterr().out == ""
    verbose_model = CPP(3, **QUICK, verbose=True).fit(x)
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("[CPP] ") for line in lines] == [True] * 3
    assert lines[-1].startswith("[CPP] 3 clusters: ")
    assert np.array_equal(silent.labels_, verbose_model.labels_)


def test_a_training_that_diverges_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = blobs(40)
    monkeypatch.setattr("cpp_pipe.stages.algorithms.training_config.LARGEST", 1e38)
    with pytest.raises(NumericError, match=r"after training step \d of 4 features are not finite"):
        CPP(**QUICK).set_params(lr=1e37).fit(x)


# Agreement with the stages.


def column(artifact: Artifact, name: str) -> np.ndarray:
    tables = [artifact.table(part.name) for part in artifact.parts]
    return np.concatenate([table.column(name).to_numpy() for table in tables])


@pytest.fixture
def digits(tmp_path: Path) -> tuple[Store, Path]:
    # Of one's own: where a run has clusters, the next ones follow their numbers.
    folder = tmp_path
    write_shards(folder / "shards", shards=3, size=50)
    return Store(folder / "store"), folder / "shards"


@pytest.mark.parametrize("affinity", ["consensus", "membership"])
@pytest.mark.parametrize("k", ["auto", 3, 40])
def test_the_stages_give_the_same_clusters(
    digits: tuple[Store, Path], k: Any, affinity: Any
) -> None:
    store, shards = digits
    common: dict[str, Any] = {"hidden": 32, "features": 16, "batch": 64, "epochs": 3}
    tables = {
        "embed": SETTINGS.tables()["embed"],
        "train": {**common, "seed": 7},
        "spectrum": {"landmarks": 100, "affinity": affinity, "seed": 7},
        "select_k": {"resamples": 2, "seed": 7},
        "assign": {"k": k},
    }
    plan = plan_of(store, shards, Settings.from_tables(tables, "tests"))
    assignments, x = plan.make("assignments"), gather(plan.make("embeddings"))
    model = CPP(k, **common, landmarks=100, affinity=affinity, resamples=2, random_state=7).fit(x)
    assert np.array_equal(model.labels_, column(assignments, "cluster"))
    assert np.array_equal(model.confidence_, column(assignments, "confidence"))
    assert np.array_equal(model.novelty(x), column(assignments, "novelty"))
    assert model.n_clusters_ == assignments.facts["k"]
    features = plan.make("features")
    assert np.array_equal(model.transform(x), gather(features, "z").astype(np.float32))
    if model.k_curve_ is not None:
        curve = plan.make("k_curve")
        for name, values in model.k_curve_.items():
            assert np.array_equal(values, column(curve, name)), name
