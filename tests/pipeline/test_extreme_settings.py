"""Numbers of settings that nothing can be computed with: refused in words, before any work."""

import pytest

from cpp_pipe import Run, Store
from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.making.jobs import settings_given_back
from cpp_pipe.pipeline.making.overrides import apply_override
from cpp_pipe.stages.algorithms.training_config import TrainingConfig, least_distortion
from cpp_pipe.stages.select_k import SelectK
from cpp_pipe.store import ConfigError

from .cli import DIGITS, SMALL, call, embed, fail, succeed

FLOATS = [
    (table, key)
    for table, values in Settings().tables().items()
    for key, value in values.items()
    if isinstance(value, float)
]
MAY_BE_ZERO = {"weight_decay", "weight_decay_cluster", "momentum", "gamma", "pi_reg", "clear"}

DIVERGING = ("train.optimizer=sgd", *(f"train.{key}=1e6" for key in ("lr", "gamma", "momentum")))


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards):
    store = tmp_path_factory.mktemp("extremes") / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL, "--set", "train.epochs=0")
    return store


@pytest.mark.parametrize(("table", "key"), FLOATS)
def test_a_number_that_float32_cannot_use_is_refused_by_the_name_of_its_setting(table, key):
    for value in ("nan", "inf", "-inf", "-0.001", "5e-324", "1e-310", "1e-40", "1e30", "1e300"):
        with pytest.raises(ConfigError, match=key):
            apply_override(Settings(), f"{table}.{key}={value}")


@pytest.mark.parametrize(("table", "key"), FLOATS)
def test_zero_is_refused_where_it_divides(table, key):
    if key in MAY_BE_ZERO:
        apply_override(Settings(), f"{table}.{key}=0.0")
    else:
        with pytest.raises(ConfigError, match=key):
            apply_override(Settings(), f"{table}.{key}=0.0")


@pytest.mark.parametrize(
    "table", [table for table, values in Settings().tables().items() if "seed" in values]
)
def test_a_seed_is_a_whole_number_that_numpy_takes(table):
    """With `index.seed=-1`, `cpp-pipe index` ended in a traceback."""
    apply_override(Settings(), f"{table}.seed={2**32 - 1}")
    for value in (-1, 2**32):
        with pytest.raises(ConfigError, match="seed"):
            apply_override(Settings(), f"{table}.seed={value}")


def test_the_least_distortion_follows_the_number_of_features():
    assert TrainingConfig(features=128, eps_sq=1.28e-5).eps_sq == least_distortion(128)
    with pytest.raises(ConfigError, match=r"eps_sq must be a number from 0.000128 \(1280 features"):
        TrainingConfig(features=1280, eps_sq=1.28e-5)
    with pytest.raises(ConfigError, match=r"select_k\.eps_sq must be from 1\.28e-05 to"):
        SelectK(eps_sq=1e-5).require_distortion(128)


@pytest.mark.parametrize(
    ("command", "setting"), [("select-k", "select_k.eps_sq"), ("hierarchy", "merge.eps_sq")]
)
def test_a_distortion_that_makes_the_matrix_singular_is_refused_in_words(store, command, setting):
    assert f"{setting} must be from 1e-07 to" in fail(store, command, "--set", f"{setting}=1e-30")
    # Possible for one feature, and not for those of this run.
    assert f"{setting} must be from 1.6e-06 to" in fail(store, command, "--set", f"{setting}=1e-6")


@pytest.mark.parametrize("value", ["1.6e-6", "1e6"])
@pytest.mark.parametrize(
    ("command", "setting"), [("select-k", "select_k.eps_sq"), ("hierarchy", "merge.eps_sq")]
)
def test_the_smallest_and_the_largest_distortion_end_in_a_result_or_in_words(
    store, command, setting, value
):
    assert call(store, command, "--set", f"{setting}={value}").code in (0, 2)


@pytest.mark.parametrize("value", ["1e-6", "1e6"])
def test_the_lowest_and_the_highest_temperature_end_in_a_result_or_in_words(store, value):
    words = ("--affinity", "membership", "--set", f"spectrum.eta={value}")
    assert call(store, "spectrum", *words).code in (0, 2)


@pytest.mark.parametrize(
    "setting",
    ["lr=1e6", "eta=1e-6", "eta=1e6", "eps_sq=1.6e-6", "gamma=1e6", "pi_reg=1e6", "momentum=1e6"],
)
def test_the_extremes_of_a_training_end_in_heads_or_in_words(store, setting):
    optimizer = ("--set", "train.optimizer=sgd") if setting.startswith("momentum") else ()
    done = call(store, "train", *SMALL, *optimizer, "--set", f"train.{setting}")
    assert done.code in (0, 2)


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("train", (*SMALL[1::2], *DIVERGING)),
        ("assign", ("assign.level=50",)),
    ],
)
def test_settings_that_cannot_be_used_do_not_stay_in_the_run(
    store, digit_shards, command, settings
):
    """After a training that diverged, every later command trained again, and diverged."""
    embed(store, digit_shards, more=("--run", command))
    before = Run.open(store, name=command).record
    words = ("--run", command, *(word for each in settings for word in ("--set", each)))
    fail(store, command, *words)
    after = Run.open(store, name=command).record
    assert (after.settings, after.making) == (before.settings, before.making)


@pytest.mark.parametrize("refit", [(), ("--refit",)])
def test_a_whole_run_that_diverges_keeps_its_settings(tmp_path, digit_shards, refit):
    """`run` records its settings when the images are embedded, before it trains."""
    small = [word for each in SMALL[1::2] for word in ("--set", each)]
    words = ("run", "--shards", digit_shards, *DIGITS, "--run", "pile", *small)
    wrong = [word for each in DIVERGING for word in ("--set", each)]
    assert "not finite" in fail(tmp_path / "store", *words, *wrong, *refit)
    settings = Run.open(tmp_path / "store", "pile").settings
    assert settings.train == Settings().train
    assert settings.data.shards and settings.embed.model == DIGITS[1]
    succeed(tmp_path / "store", *words)
    good = Run.open(tmp_path / "store", "pile").record
    assert "not finite" in fail(tmp_path / "store", *words, *wrong, "--refit")
    after = Run.open(tmp_path / "store", "pile").record
    assert (after.settings, after.making) == (good.settings, good.making)


def test_no_run_is_left_where_nothing_was_recorded(tmp_path):
    """An error before the first step began an empty run."""
    store = Store(tmp_path)
    with pytest.raises(ConfigError), settings_given_back(store, "pile"):
        raise ConfigError("no such setting")
    assert store.runs.names() == []


def test_the_highest_seed_chooses_a_number_of_clusters(store):
    seeds = [f"{table}.seed={2**32 - 1}" for table in ("spectrum", "select_k")]
    settings = (*seeds, "select_k.eps_sq=0.1")
    succeed(store, "select-k", *(word for each in settings for word in ("--set", each)))


def test_a_share_of_skipped_images_that_is_no_number_is_refused(store, digit_shards):
    words = ("embed", "--shards", digit_shards, "--max-skipped", "nan")
    assert "must be from 0 to 1, got nan" in fail(store, *words)
    with pytest.raises(ConfigError, match="must be from 0 to 1, got nan"):
        Run.open(store).embed(shards=f"{digit_shards}/*.tar", max_skipped=float("nan"))
