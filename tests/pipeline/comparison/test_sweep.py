"""`cpp-pipe sweep`: which runs it makes, what they share, and how they are told apart."""

import json
from pathlib import Path

import pytest

from cpp_pipe import Run, Store
from cpp_pipe.pipeline.comparison.sweep import plan_sweep, read_axes
from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.making.overrides import read_values
from cpp_pipe.store import ConfigError

from ..cli import fail, succeed
from .world import import_run, make_runs, write


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_runs(tmp_path_factory.mktemp("swept"))


SWEEP = ("sweep", "--run", "all", "--set", "spectrum.clusterings=4,8", "--seeds", "2", "--k", "4")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1,0.175", [0.1, 0.175]),
        ("[1,2]", [[1, 2]]),
        ("[1,2],[3]", [[1, 2], [3]]),
        ('"a,b",c', ["a,b", "c"]),
        ("consensus, membership", ["consensus", "membership"]),
        ("true", [True]),
        ("", []),
    ],
)
def test_commas_outside_of_brackets_and_quotes_part_values(text, values):
    assert read_values(text) == values


def test_runs_are_all_combinations_named_by_what_differs():
    axes = read_axes(Settings(), ["train.eta=0.1,0.2", "train.epochs=3"])
    runs = plan_sweep("pets", Settings(), axes, seeds=2, ks=[10, 20])
    assert [run.name for run in runs][:3] == [
        "pets_eta-0.1_k-10_seed-0",
        "pets_eta-0.1_k-10_seed-1",
        "pets_eta-0.1_k-20_seed-0",
    ]
    assert len({run.name for run in runs}) == 8
    last = runs[-1].settings
    assert (last.train.eta, last.train.epochs, last.assign.k) == (0.2, 3, 20)
    assert last.train.seed == last.spectrum.seed == last.select_k.seed == 1


def test_a_key_of_two_tables_is_named_with_its_table():
    axes = read_axes(Settings(), ["train.eta=0.1,0.2", "spectrum.eta=0.1,0.2"])
    names = [run.name for run in plan_sweep("a", Settings(), axes)]
    assert names[0] == "a_train.eta-0.1_spectrum.eta-0.1"


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["train.eta=0.1,0.1"], "two runs would be called"),
        (["train.eta=0.1", "train.eta=0.2"], "given twice"),
        (["embed.model=a,b"], "embeddings of one run"),
        (["nothing.eta=1"], "there is no table"),
        (["train.nothing=1,2"], "unknown key"),
        (["train.eta=0"], "eta must be a number above 0"),
        (["train.seed=" + ",".join(map(str, range(1001)))], "more than 1,000"),
        (["train.eta=0.1"], "single combination"),
    ],
)
def test_values_that_cannot_be_are_refused_before_any_work(assignments, message):
    with pytest.raises(ConfigError, match=message):
        plan_sweep("a", Settings(), read_axes(Settings(), assignments))


def test_equal_steps_are_made_once_and_a_second_sweep_makes_nothing(store):
    first = succeed(store, *SWEEP)
    runs = {name: Run.open(store, name) for name in Store(store).runs.names() if "seed" in name}
    assert sorted(runs) == [f"all_clusterings-{n}_seed-{seed}" for n in (4, 8) for seed in (0, 1)]
    versions = [run.record.versions for run in runs.values()]
    assert len({v["embeddings"] for v in versions}) == 1
    # Heads depend on the seed alone, clusters on both.
    assert len({v["heads"] for v in versions}) == 2
    assert len({v["assignments"] for v in versions}) == 4
    assert first.err.count("train: making heads") <= 2
    again = succeed(store, *SWEEP)
    assert "making" not in again.err
    assert again.out == first.out


def test_seeds_are_one_line_with_their_spread(store):
    told = json.loads(succeed(store, *SWEEP, "--json").out)
    assert [group["label"] for group in told["groups"]] == ["clusterings=4", "clusterings=8"]
    for group in told["groups"]:
        assert group["seeds"] == [0, 1] and group["acc"]["spread"] is not None
    assert told["settings"] == {"spectrum.clusterings": ["4", "8"]}
    assert all(told["agreement"][n][n] is not None for n in (0, 1))


def test_a_run_of_a_sweep_is_a_run_like_any_other(store):
    succeed(store, *SWEEP)
    out = succeed(store, "clusters", "--run", "all_clusterings-4_seed-0").out
    assert "160 images in 4 clusters" in out


def test_settings_that_change_nothing_are_told(store):
    # Nothing is trained, so the temperature of the training matters to nothing.
    words = ("sweep", "--run", "all", "--set", "train.eta=0.1,0.2", "--k", "4")
    told = json.loads(succeed(store, *words, "--json").out)
    assert told["settings"] == {"train.eta": ["0.1", "0.2"]}
    assert told["notes"] == ["all_eta-0.1 and all_eta-0.2 made the same clusters"]


def test_list_makes_nothing(store):
    before = set(Store(store).runs.names())
    out = succeed(store, "sweep", "--run", "all", "--k", "2,3", "--list").out
    assert "all_k-2" in out and "all_k-3" in out
    assert set(Store(store).runs.names()) == before


def test_a_sweep_needs_something_to_vary_and_embeddings(store, tmp_path):
    assert "nothing to vary" in fail(store, "sweep", "--run", "all")
    assert "no embeddings yet" in fail(tmp_path / "none", "sweep", "--run", "x", "--k", "2,3")


def test_a_run_of_other_images_is_not_overwritten(store, tmp_path):
    import_run(store, "all_k-6", write(tmp_path / "other.npz", _few()))
    message = fail(store, "sweep", "--run", "all", "--k", "6,7")
    assert "'all_k-6' of other images" in message
    assert Run.open(store, "all_k-6").artifact("embeddings").rows == 40


def _few():
    import numpy as np

    return np.arange(0, 160, 4)


def test_python_sweeps_the_same_runs(store):
    table = Run.open(store, "all").sweep({"spectrum.clusterings": [4, 8]}, seeds=2, k=4)
    told = json.loads(succeed(store, *SWEEP, "--json").out)
    assert table.to_json() == told
