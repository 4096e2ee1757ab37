"""`cpp-pipe sweep`: the runs that it makes, the artifacts that they share, and their names."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run, Store
from cpp_pipe.pipeline.comparison.comparison import compare_partitions
from cpp_pipe.pipeline.comparison.image_set import ImageSet
from cpp_pipe.pipeline.comparison.partition import partition_of
from cpp_pipe.pipeline.comparison.sweep import plan_sweep, read_axes
from cpp_pipe.pipeline.config import Settings
from cpp_pipe.pipeline.making.overrides import read_values
from cpp_pipe.store import ConfigError, MissingError

from ..cli import embed, fail, succeed
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


def test_runs_are_all_combinations_named_by_their_values():
    axes = read_axes(Settings(), ["train.eta=0.1,0.2", "train.epochs=3"])
    runs = plan_sweep("pets", Settings(), axes, seeds=2, ks=[10, 20])
    assert [run.name for run in runs][:3] == [
        "pets_eta-0.1_epochs-3_k-10_seed-0",
        "pets_eta-0.1_epochs-3_k-10_seed-1",
        "pets_eta-0.1_epochs-3_k-20_seed-0",
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
        (["train.eta=0"], "eta must be a number from 1e-06"),
        (["train.seed=" + ",".join(map(str, range(1001)))], "more than 1,000"),
        ([], "nothing to vary"),
    ],
)
def test_invalid_values_are_refused_before_any_work(assignments, message):
    with pytest.raises(ConfigError, match=message):
        plan_sweep("a", Settings(), read_axes(Settings(), assignments))


def test_equal_steps_are_made_once_and_a_second_sweep_makes_nothing(store):
    first = succeed(store, *SWEEP)
    runs = {name: Run.open(store, name) for name in Store(store).runs.names() if "seed" in name}
    assert sorted(runs) == [
        f"all_clusterings-{n}_k-4_seed-{seed}" for n in (4, 8) for seed in (0, 1)
    ]
    versions = [run.record.versions for run in runs.values()]
    assert len({v["embeddings"] for v in versions}) == 1
    # Heads depend on the seed alone, clusters on both.
    assert len({v["heads"] for v in versions}) == 2
    assert len({v["assignments"] for v in versions}) == 4
    assert first.err.count("train: making heads") <= 2
    again = succeed(store, *SWEEP)
    assert "making" not in again.err
    assert again.out == first.out


def test_seeds_share_one_line_with_their_spread(store):
    result = json.loads(succeed(store, *SWEEP, "--json").out)
    assert [group["label"] for group in result["groups"]] == ["clusterings=4", "clusterings=8"]
    for group in result["groups"]:
        assert group["seeds"] == [0, 1] and group["acc"]["spread"] is not None
    assert result["settings"] == {"spectrum.clusterings": ["4", "8"]}
    assert all(result["agreement"][n][n] is not None for n in (0, 1))


def test_a_run_of_a_sweep_is_a_run_like_any_other(store):
    succeed(store, *SWEEP)
    out = succeed(store, "clusters", "--run", "all_clusterings-4_k-4_seed-0").out
    assert "160 images in 4 clusters" in out


def test_settings_without_effect_are_reported(store):
    # Nothing is trained, so the temperature of the training matters to nothing.
    words = ("sweep", "--run", "all", "--set", "train.eta=0.1,0.2", "--k", "4")
    result = json.loads(succeed(store, *words, "--json").out)
    assert result["settings"] == {"train.eta": ["0.1", "0.2"]}
    assert result["notes"] == ["all_eta-0.1_k-4 and all_eta-0.2_k-4 made the same clusters"]


def test_list_makes_nothing(store):
    before = set(Store(store).runs.names())
    out = succeed(store, "sweep", "--run", "all", "--k", "2,3", "--list").out
    assert "all_k-2" in out and "all_k-3" in out
    result = json.loads(
        succeed(store, "sweep", "--run", "all", "--k", "2,3", "--list", "--json").out
    )
    assert result == {"runs": ["all_k-2", "all_k-3"]}
    assert set(Store(store).runs.names()) == before


def test_a_sweep_needs_varied_settings_and_embeddings(store, tmp_path):
    assert "nothing to vary" in fail(store, "sweep", "--run", "all")
    assert "no embeddings yet" in fail(tmp_path / "none", "sweep", "--run", "x", "--k", "2,3")
    mistyped = fail(store, "sweep", "--run", "al", "--k", "2,3")
    assert "run 'al' of the store" in mistyped and "name another run with --run: all, " in mistyped


def test_a_run_of_other_images_is_not_overwritten(store, tmp_path):
    import_run(store, "all_k-6", write(tmp_path / "other.npz", _few()))
    message = fail(store, "sweep", "--run", "all", "--k", "6,7")
    assert "'all_k-6' of other images: the embeddings of 'all' changed" in message
    assert str(store / "runs" / "all_k-6") in message
    assert Run.open(store, "all_k-6").artifact("embeddings").rows == 40


def test_an_invalid_comparison_is_refused_before_any_run_is_made(store, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("key,label\nnothing,cat\n")
    few = ("sweep", "--run", "few", "--k", "2,3")
    import_run(store, "few", write(tmp_path / "few.npz", np.arange(12)))
    before = set(Store(store).runs.names())
    sweep = ("sweep", "--run", "all", "--k", "11,12")
    assert "has the label 'typo'" in fail(store, *sweep, "--label", "typo")
    assert "no key of" in fail(store, *sweep, "--labels", table)
    assert "none.csv" in fail(store, *sweep, "--labels", tmp_path / "none.csv")
    assert "rivals need at least 20 images" in fail(store, *few, "--rivals")
    assert "to the number of rows, 12, got 13" in fail(store, *few[:-1], "2,13")
    guides = f"views.guide={tmp_path / 'none.txt'}"
    assert "none.txt" in fail(store, *sweep, "--set", guides)
    run = Run.open(store, "all")
    with pytest.raises(MissingError, match="has the label 'typo'"):
        run.sweep(k=[11, 12], label="typo")
    assert set(Store(store).runs.names()) == before


def _few():
    import numpy as np

    return np.arange(0, 160, 4)


def test_python_sweeps_the_same_runs(store):
    table = Run.open(store, "all").sweep({"spectrum.clusterings": [4, 8]}, seeds=2, k=4)
    result = json.loads(succeed(store, *SWEEP, "--json").out)
    assert table.to_json() == result


def sweep_json(store: Path, *words: str) -> dict:
    return json.loads(succeed(store, "sweep", "--run", "all", *words, "--json").out)


def test_a_sweep_leaves_runs_of_sweeps_with_other_fixed_values(store):
    succeed(store, "sweep", "--run", "all", "--seeds", "2", "--k", "3")
    before = Store(store).runs.read("all_k-3_seed-0")
    succeed(store, "sweep", "--run", "all", "--seeds", "2", "--k", "5")
    succeed(store, "sweep", "--run", "all", "--seeds", "2", "--k", "3",
            "--set", "spectrum.clusterings=5")  # fmt: skip
    assert Store(store).runs.read("all_k-3_seed-0") == before


def test_a_run_of_other_settings_is_not_overwritten(store):
    succeed(store, "sweep", "--run", "all", "--k", "7")
    succeed(store, "assign", "--run", "all_k-7", "--k", "8")
    before = Store(store).runs.read("all_k-7")
    message = fail(store, "sweep", "--run", "all", "--k", "7")
    assert "a run 'all_k-7' of other settings: its assign.k is 8, and not 7" in message
    assert Store(store).runs.read("all_k-7") == before


def test_a_sweep_keeps_settings_that_a_run_got_later(store):
    words = ("sweep", "--run", "all", "--k", "9")
    first = succeed(store, *words).out
    runs = Store(store).runs
    settings = Run.open(store, "all_k-9").settings.override("caption", rule="vote")
    runs.update("all_k-9", settings=settings.override("select_k", rule="bic").tables())
    assert succeed(store, *words).out == first
    assert Run.open(store, "all_k-9").settings.caption.rule == "vote"


def test_seeds_stay_one_line_where_one_of_them_has_other_captions(store):
    words = ("sweep", "--run", "all", "--k", "7", "--seeds", "2", "--json")
    before = json.loads(succeed(store, *words).out)
    name = "all_k-7_seed-0"
    settings = Run.open(store, name).settings.override("caption", rule="vote")
    Store(store).runs.update(name, settings=settings.override("index", target_recall=0.9).tables())
    after = json.loads(succeed(store, *words).out)
    assert len(after["groups"]) == len(before["groups"]) == 1


def test_settings_that_clusters_do_not_record_get_lines_of_their_own(store):
    result = sweep_json(store, "--set", "select_k.rule=code,bic", "--k", "4")
    assert [group["runs"] for group in result["groups"]] == [["all_rule-code_k-4"],
                                                           ["all_rule-bic_k-4"]]  # fmt: skip
    assert result["notes"] == ["all_rule-code_k-4 and all_rule-bic_k-4 made the same clusters"]


def test_k_max_is_listed_only_if_it_was_varied(store):
    result = sweep_json(store, "--k", "2,3", "--set", "spectrum.k_max=8,12")
    assert len(result["groups"]) == 4
    assert result["settings"]["spectrum.k_max"] == ["8", "8", "12", "12"]
    # Without a number the eigenvectors follow from k.
    assert list(sweep_json(store, "--k", "2,60")["settings"]) == ["assign.k"]


def test_nearly_equal_numbers_get_lines_of_their_own(store):
    result = sweep_json(store, "--set", "spectrum.eta=0.1000001,0.1000002", "--k", "4")
    assert result["settings"]["spectrum.eta"] == ["0.1000001", "0.1000002"]


def test_runs_with_equal_settings_and_seeds_count_once(store):
    succeed(store, "sweep", "--run", "all", "--k", "4", "--seeds", "2")
    result = json.loads(
        succeed(store, "compare", "all", "all_k-4_seed-0", "all_k-4_seed-1", "--json").out
    )
    assert [group["runs"] for group in result["groups"]] == [["all", "all_k-4_seed-1"]]
    assert result["notes"] == [
        "all_k-4_seed-0 has the settings and the seeds of all: both count as one run"
    ]


def test_the_varied_seed_is_reported(store):
    result = sweep_json(store, "--set", "spectrum.seed=3,4", "--k", "4")
    assert result["groups"][0]["seeds"] == [3, 4]
    assert result["groups"][0]["runs"] == ["all_spectrum.seed-3_k-4", "all_spectrum.seed-4_k-4"]


def test_values_of_other_alphabets_have_names_of_their_own():
    runs = plan_sweep("a", Settings(), {"views.guide": ["猫.txt", "犬.txt"]})
    assert len({run.name for run in runs}) == 2 and all(run.name.isascii() for run in runs)


def test_very_small_numbers_have_names_of_their_own():
    runs = plan_sweep("a", Settings(), {"train.lr": [1e-30, 1e-05]})
    assert [run.name for run in runs] == ["a_lr-1e-30", "a_lr-1e-05"]


def test_python_takes_single_values_and_numbers_of_numpy():
    axes = {"spectrum.clusterings": 12, "spectrum.affinity": "membership"}
    names = [run.name for run in plan_sweep("a", Settings(), axes, ks=np.int64(5))]
    assert names == ["a_clusterings-12_affinity-membership_k-5"]
    several = plan_sweep("a", Settings(), {"train.eta": np.array([0.1, 0.2])}, 2, None)
    assert len(several) == 4


@pytest.mark.parametrize(
    ("axes", "seeds", "ks", "message"),
    [
        ({}, 0, (), "seeds must be a whole number, at least 1, got 0"),
        ({"assign.k": [20, 30]}, None, [40], "both name numbers of clusters"),
        ({"spectrum.seed": [1, 2]}, 2, (), "both name seeds"),
        ({"train.eta": []}, None, (), "train.eta has no value"),
        ({"train.eta": None}, None, (), "train.eta has no value"),
        ({"train.eta": [0.1, None]}, None, (), "train.eta has no value"),
        (["train.eta=0.1"], None, (), "settings must be values by TABLE.KEY, such as"),
        ({5: 1}, None, (), "5 is no setting: name it TABLE.KEY"),
    ],
)
def test_values_that_contradict_each_other_are_refused(axes, seeds, ks, message):
    with pytest.raises(ConfigError, match=message):
        plan_sweep("a", Settings(), axes, seeds, ks)


def test_different_guide_words_get_lines_of_their_own(tmp_path, digit_shards):
    store = tmp_path / "artifacts"
    embed(store, digit_shards)
    guides = [tmp_path / "round.txt", tmp_path / "odd.txt"]
    guides[0].write_text("zero\nsix\neight\n")
    guides[1].write_text("one\nthree\nseven\n")
    axis = f"views.guide={guides[0]},{guides[1]}"
    result = json.loads(
        succeed(store, "sweep", "--set", axis, "--k", "4", "--seeds", "2", "--json").out
    )
    assert [len(group["runs"]) for group in result["groups"]] == [2, 2]
    assert list(result["settings"]) == ["views.guide"]
    # The same file with other words since: the runs made before are not the runs made now.
    guides[0].write_text("nine\nfour\n")
    first = result["groups"][0]["runs"]
    parts = [partition_of(Run.open(store, name), _images(store, name)) for name in first]
    succeed(store, "assign", "--run", first[1])
    later = partition_of(Run.open(store, first[1]), _images(store, first[1]))
    assert parts[0].given == parts[1].given != later.given
    assert len(compare_partitions([parts[0], later]).groups) == 2


def _images(store: Path, run: str) -> ImageSet:
    return ImageSet.read(Run.open(store, run).artifact("embeddings"), "cls", None)


DOCS = Path(__file__).resolve().parents[3] / "docs"


def _documented_runs(text: str) -> set[str]:
    """The runs of the sweeps that a page shows, by the command and from Python."""
    names: set[str] = set()
    for command in re.findall(r"^cpp-pipe (sweep(?:[^\n]*\\\n)*[^\n]*)", text, re.MULTILINE):
        words = shlex.split(command.replace("\\\n", " "), comments=True)
        flags = list(zip(words[1::2], words[2::2], strict=True))
        given = dict(flags)
        axes = read_axes(Settings(), [value for flag, value in flags if flag == "--set"])
        runs = plan_sweep(
            given["--run"], Settings(), axes, int(given["--seeds"]), int(given["--k"])
        )
        names |= {run.name for run in runs}
    for base, call in re.findall(r"(\w+)\.sweep\((.*)\)$", text, re.MULTILINE):
        given = eval(f"dict(axes={call})")  # the page is ours
        runs = plan_sweep(base, Settings(), given["axes"], given["seeds"], given["k"])
        names |= {run.name for run in runs}
    return names


@pytest.mark.parametrize(("page", "run"), [("compare.md", "ucf"), ("python.md", "mine")])
def test_run_names_in_the_docs_are_those_that_sweeps_make(page, run):
    text = (DOCS / page).read_text(encoding="utf-8")
    named = set(re.findall(rf"\b{run}_[\w.-]+\w", text))
    assert named and named <= _documented_runs(text)


def test_a_setting_without_its_table_is_refused_with_the_form_of_its_name(store):
    for name in ("features", "trains.features", "train."):
        with pytest.raises(ConfigError, match=rf"{name!r} is no setting: name it TABLE.KEY"):
            Run.open(store, "all").sweep({name: [8, 16]}, k=4)
