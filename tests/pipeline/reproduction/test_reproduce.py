"""reproduce: from the files of a data set to our figures beside published ones."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe.pipeline.config import EmbedSettings, Settings, find_config, read_tables
from cpp_pipe.pipeline.datasets.catalog import CATALOG
from cpp_pipe.pipeline.reproduction.changes import name_run
from cpp_pipe.pipeline.reproduction.comparison import Comparison
from cpp_pipe.pipeline.reproduction.published import published
from cpp_pipe.pipeline.reproduction.recipes import DATA_SETS, follow, paper
from cpp_pipe.pipeline.reproduction.trials import Trial
from cpp_pipe.pipeline.view.evaluation import Scores, cluster_by_kmeans, score_clusters
from cpp_pipe.pipeline.view.images import read_row
from cpp_pipe.pipeline.view.labels import read_labels
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.store import Store
from cpp_pipe.store.kinds import EMBEDDINGS, FEATURES, HEADS, SPECTRUM

from ...stages.small_models import mobile_clip_flags
from ..cli import Outcome, call, fail, succeed
from ..datasets.synthetic_files import make_cifar10

SMALL = ("--set", "train.hidden=32", "--set", "train.features=16")
ROWS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reproduce")


@pytest.fixture(scope="module")
def reproduced(folder, shared) -> Outcome:
    """CIFAR-10 of 120 synthetic images: fetched, embedded by a small model, clustered, scored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_cifar10(folder / "files", patch, per_batch=ROWS // 6)
        return succeed(
            folder / "artifacts",
            *("reproduce", "cifar10", "--seeds", "2", "--from", "files", *SMALL),
            *mobile_clip_flags(shared),
        )


OF_A_FILE = (
    *("reproduce", "cifar10", "--embeddings", "mine.npz", "--seeds", "1"),
    *("--set", "train.hidden=16", "--set", "train.features=8"),
)


def save_groups(file: Path, groups: int = 10) -> None:
    """Saves 100 embeddings in well separated groups, with the groups as labels."""
    y = np.arange(100) % groups
    centres = np.random.default_rng(0).normal(size=(groups, 24))
    x = centres[y] + 0.1 * np.random.default_rng(1).normal(size=(100, 24))
    np.savez(file, x=x.astype(np.float32), y=y)


def figures(done: Outcome) -> dict:
    """The JSON of the last line."""
    (row,) = json.loads(done.out.splitlines()[-1])["data_sets"]
    assert row["data_set"] == "cifar10"
    return row


def test_the_whole_path_runs_on_a_tiny_cifar(reproduced, folder):
    assert f"seen {ROWS} = written {ROWS} + skipped 0" in reproduced.out
    assert f"seen {ROWS} = embedded {ROWS} + skipped 0" in reproduced.out
    row = figures(reproduced)
    assert row["rows"] == ROWS and row["k"] == 10
    assert [(trial["recipe"], trial["seed"]) for trial in row["trials"]] == [
        ("default", 0), ("default", 1), ("paper", 0), ("paper", 1)
    ]  # fmt: skip
    # Each class has a colour of its own.
    default = row["trials"][0]
    assert default["clusters"]["acc"] > default["chance"]["acc"] + 0.2
    assert (folder / "cifar10" / "dataset.json").is_file()


def test_the_table_shows_our_figures_beside_published_ones(reproduced):
    lines = reproduced.out.splitlines()
    assert "CIFAR-10: 120 rows, k 10, 2 seeds; scores in per cent" in lines
    starts = ["cpp-pipe, default", "cpp-pipe, paper's recipe", "k-means", "chance, same sizes"]
    starts += ["CPP, published", "TEMI, published", "TURTLE, published", "PRO-DSC, published"]
    assert all(any(line.startswith(start) for line in lines) for start in starts)
    (cpp,) = [line for line in lines if line.startswith("CPP, published")]
    assert cpp.split()[-2:] == ["97.4", "93.6"]  # the ARI is not recorded
    (ours,) = [line for line in lines if line.startswith("cpp-pipe, default")]
    assert ours.count("±") == 3


def test_differences_from_the_published_experiment_are_listed(reproduced):
    output = reproduced.out
    assert "only 120 of 60,000 images are here: do not compare with published scores" in output
    assert "settings changed by --set: train.hidden=32, train.features=16" in output
    assert "empty cells of CPP, PRO-DSC are not recorded in published.toml" in output


def test_it_fits_a_terminal_of_80_columns(reproduced, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    again = _again(reproduced, folder)
    # A path stays whole.
    lines = [line for line in again.out.splitlines()[:-1] if str(folder) not in line]
    assert len(lines) > 15 and all(len(line) <= 80 for line in lines)


def test_nothing_is_made_twice(reproduced, folder, monkeypatch):
    monkeypatch.chdir(folder)
    before = set((folder / "artifacts").rglob("manifest.json"))
    again = _again(reproduced, folder)
    assert figures(again) == figures(reproduced)
    assert set((folder / "artifacts").rglob("manifest.json")) == before


def _again(reproduced: Outcome, folder: Path) -> Outcome:
    record = Store(folder / "artifacts").runs.read(figures(reproduced)["run"])
    embed = record.settings["embed"]
    return succeed(
        folder / "artifacts",
        *("reproduce", "cifar10", "--seeds", "2", *SMALL),
        *("--model-config", embed["model_config"], "--pretrained", embed["pretrained"]),
    )


def test_each_trial_is_a_run_with_its_settings(reproduced, folder):
    runs, base = Store(folder / "artifacts").runs, figures(reproduced)["run"]
    settings = runs.read(f"{base}-paper-1").settings
    assert settings["train"]["start"] == "random" and settings["train"]["seed"] == 1
    assert settings["spectrum"]["affinity"] == "membership"
    assert settings["assign"]["k"] == 10
    assert runs.read(f"{base}-default-0").settings["train"]["epochs"] == 0


def test_each_trial_shows_the_images_of_the_data_set(reproduced, folder):
    store, row = Store(folder / "artifacts"), figures(reproduced)
    embedded = store.runs.read(row["run"])
    assert len(embedded.sources) == 2
    for trial in row["trials"]:
        record = store.runs.read(trial["run"])
        assert (record.sources, record.stamps) == (embedded.sources, embedded.stamps)
        embeddings = store.open(EMBEDDINGS, record.versions["embeddings"])
        assert read_row(embeddings, record.sources, 0).startswith(b"\x89PNG")


def test_existing_embeddings_need_no_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("mine.npz"))
    row = figures(succeed(tmp_path / "artifacts", *OF_A_FILE))
    assert row["model"] == "ViT-L-14 (openai)" and row["rows"] == 100
    assert row["trials"][0]["clusters"]["acc"] == 1
    assert not (tmp_path / "cifar10").exists()


def test_runs_of_other_models_files_and_settings_do_not_replace_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("mine.npz"))
    shutil.copy("mine.npz", "other.npz")
    calls = [
        OF_A_FILE,
        tuple(word.replace("mine", "other") for word in OF_A_FILE),
        (*OF_A_FILE, "--set", "embed.model=ViT-B-32"),
        (*OF_A_FILE, "--set", "spectrum.eta=0.3"),
    ]
    rows = [figures(succeed(tmp_path / "artifacts", *words)) for words in calls]
    runs = [trial["run"] for row in rows for trial in row["trials"]]
    assert len(set(runs)) == len(runs) == 2 * len(calls)
    assert set(runs) <= set(Store(tmp_path / "artifacts").runs.names())
    assert rows[2]["model"] == "ViT-B-32 (openai)"
    again = figures(succeed(tmp_path / "artifacts", *OF_A_FILE))
    assert again["run"] == rows[0]["run"]


def test_two_files_of_one_data_set_stand_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("mine.npz"))
    save_groups(Path("other.npz"))
    twice = ("reproduce", "cifar10", "cifar10", "--embeddings", "mine.npz")
    done = succeed(tmp_path / "artifacts", *twice, "--embeddings", "other.npz", *OF_A_FILE[4:])
    rows = json.loads(done.out.splitlines()[-1])["data_sets"]
    assert [(row["data_set"], row["embeddings"]) for row in rows] == [
        ("cifar10", "mine.npz"), ("cifar10", "other.npz")
    ]  # fmt: skip
    assert rows[0]["run"] != rows[1]["run"]
    for name in ("mine.npz", "other.npz"):
        assert f"CIFAR-10 ({name}): 100 rows" in done.out


def test_rows_without_labels_are_clustered_and_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("mine.npz"))
    whole = dict(np.load("mine.npz"))
    np.savez("mine.npz", x=whole["x"], y=np.where(np.arange(100) < 60, whole["y"], np.nan))
    done = succeed(tmp_path / "artifacts", *OF_A_FILE)
    assert "CIFAR-10 (mine.npz): 100 rows, 60 with labels, k 10, 1 seed" in done.out
    assert "scores over the 60 rows with labels; all 100 rows are clustered" in done.out
    row = figures(done)
    assert (row["rows"], row["unlabelled"]) == (60, 40)
    store = Store(tmp_path / "artifacts")
    x = gather(store.open(EMBEDDINGS, store.runs.read(row["run"]).versions["embeddings"]))
    pred = cluster_by_kmeans(x, x[:60], 10, 0)
    assert row["kmeans"] == [asdict(score_clusters(np.arange(60) % 10, pred))]


def test_heads_and_spectrum_are_fitted_to_all_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("whole.npz"))
    whole = np.load("whole.npz")
    store = Store(tmp_path / "artifacts")
    for rows in (80, 100):
        np.savez("mine.npz", x=whole["x"][:rows], y=whole["y"][:rows])
        for trial in figures(succeed(tmp_path / "artifacts", *OF_A_FILE))["trials"]:
            versions = store.runs.read(trial["run"]).versions
            embeddings = store.open(EMBEDDINGS, versions["embeddings"])
            assert embeddings.rows == trial["rows"] == rows
            heads = store.open(HEADS, versions["heads"])
            assert heads.manifest.inputs["embeddings"].version == embeddings.version
            features = store.open(FEATURES, versions["features"])
            spectrum = store.open(SPECTRUM, versions["spectrum"])
            assert spectrum.manifest.inputs["features"].version == features.version


def test_a_run_with_the_defaults_has_a_plain_name():
    assert name_run("cifar10", EmbedSettings(), (), None) == "reproduce-cifar10"


def test_changed_settings_of_embed_are_used(folder, reproduced, monkeypatch):
    monkeypatch.chdir(folder)
    embed = Store(folder / "artifacts").runs.read(figures(reproduced)["run"]).settings["embed"]
    words = ("--seeds", "1", *SMALL, "--set", "embed.exif=apply")
    for key in ("model", "model_config", "pretrained"):
        words += ("--set", f"embed.{key}={json.dumps(embed[key])}")
    done = succeed(folder / "artifacts", "reproduce", "cifar10", *words)
    store = Store(folder / "artifacts")
    record = store.runs.read(figures(done)["trials"][0]["run"])
    made = store.open(EMBEDDINGS, record.versions["embeddings"])
    assert made.manifest.config["exif"] == "apply"
    assert "embed.exif=apply" in figures(done)["changed"]


def test_k_means_has_as_many_clusters_as_classes_for_each_seed(reproduced, folder):
    row = figures(reproduced)
    store = Store(folder / "artifacts")
    version = store.runs.read(row["run"]).versions["embeddings"]
    embeddings = store.open(EMBEDDINGS, version)
    x, y = gather(embeddings), np.array(read_labels(embeddings, "cls", None), dtype=int)
    expected = [score_clusters(y, cluster_by_kmeans(x, x, 10, seed)) for seed in range(2)]
    assert row["kmeans"] == [asdict(scores) for scores in expected]
    assert row["kmeans_method"] == "k-means"


def test_k_means_of_many_rows_is_called_mini_batch_k_means():
    of_many = replace(compare([10], [10]), kmeans_method="mini-batch k-means")
    assert "mini-batch k-means" in [row[0] for row in of_many.rows()]
    assert "k-means" not in [row[0] for row in of_many.rows()]
    assert of_many.to_json()["kmeans_method"] == "mini-batch k-means"


def test_deviating_numbers_of_clusters_are_listed_by_seed():
    comparison = compare([10, 9, 8], [10, 10, 10])
    (difference,) = [line for line in comparison.differences() if "were joined" in line]
    assert difference == (
        "cpp-pipe, default: not 10 clusters, because overlapping pieces were joined: "
        "9 with seed 1, 8 with seed 2"
    )


def compare(default: list[int], paper: list[int]) -> Comparison:
    """A comparison whose trials found the given numbers of clusters."""
    scores = Scores(acc=0.5, nmi=0.5, ari=0.5)
    return Comparison(
        data_set=CATALOG["cifar10"],
        run="reproduce-cifar10",
        model="ViT-L-14 (openai)",
        trials=tuple(
            Trial(
                run=f"reproduce-cifar10-{recipe}-{seed}",
                recipe=recipe,
                seed=seed,
                rows=60_000,
                k=k,
                clusters=scores,
                chance=scores,
                seconds=1,
            )
            for recipe, counts in (("default", default), ("paper", paper))
            for seed, k in enumerate(counts)
        ),
        file=None,
        unlabelled=0,
        kmeans=(scores,) * 3,
        kmeans_method="k-means",
        published=published("cifar10"),
        changed=(),
    )


def test_published_figures_are_printed_with_their_sources(reproduced):
    output = " ".join(reproduced.out.split())
    for row in published("cifar10"):
        assert f"{row.differs}; figures from {row.source}" in output
    (without,) = [row for row in published("cifar20") if row.method == "CPP"]
    assert without.source is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epoch=3", "epoch"),
        ("trian.epochs=3", "there is no table 'trian'"),
        ("train.epochs=many", "epochs"),
        ("assign.k=20", "--set assign.k: reproduce takes the data set's images and number of"),
        ("assign.method=hierarchy", "--set assign.method: reproduce takes"),
        ("data.label=other", "--set data.label: reproduce takes"),
        ("caption.top=3", "only settings of embed, views, train, spectrum can be changed"),
        ("spectrum.seed=7", "--set spectrum.seed: reproduce sets the seeds; use --seeds"),
        ("train.seed=7", "--set train.seed: reproduce sets the seeds; use --seeds"),
    ],
)
def test_invalid_settings_are_refused_before_any_work(assignment, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in fail(tmp_path / "artifacts", "reproduce", "cifar10", "--set", assignment)
    assert list(tmp_path.iterdir()) == []


def test_settings_of_embedding_are_refused_beside_embeddings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("mine.npz"))
    message = fail(tmp_path / "artifacts", *OF_A_FILE, "--set", "embed.precision=bf16")
    assert "--set embed.precision has no effect on embeddings from a file" in message


def test_labels_of_another_data_set_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("mine.npz"), groups=20)
    message = fail(tmp_path / "artifacts", *OF_A_FILE)
    assert "CIFAR-10 has 10 classes, and the labels y of mine.npz are 20" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dtd",), "the paper's settings are known for cifar10, cifar20, cifar100, imagenet"),
        (("cifar10", "cifar100", "--embeddings", "a.npz"), "given once for each data set"),
        (("cifar10", "--embeddings", "a.npz", "--from", "b"), "--from has no effect with"),
        (("cifar10", "--embeddings", "none.npz"), "none.npz does not exist"),
        (("cifar10", "cifar100", "cifar10"), "cifar10 is named twice: name each data set once"),
        (
            ("cifar10", "cifar10", "--embeddings", "a.npz", "--embeddings", "a.npz"),
            "cifar10 is named twice with --embeddings a.npz: name each once",
        ),
        (("imagenet",), "torchvision cannot download ImageNet-1k"),
    ],
)
def test_an_impossible_reproduction_is_refused(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in fail(tmp_path / "artifacts", "reproduce", *words)


@pytest.mark.parametrize(
    ("there", "words", "expected"),
    [
        (
            "cifar10/notes.txt",
            (),
            "the folder cifar10 exists already, without *.tar to read: move it away, or run the "
            "command in another folder",
        ),
        (
            "imagenet/val-00000.tar",
            ("imagenet",),
            "the folder imagenet exists already, without train-*.tar to read: move it away",
        ),
        (
            "cifar10.partial/notes.txt",
            (),
            "holds notes.txt, which this command did not write: move it away, or run the command "
            "in another folder",
        ),
        (
            "files/data_batch_1",
            ("--downloads", "."),
            "the folder cifar10 would hold the files of CIFAR-10 too, which are in cifar10: put "
            "these elsewhere (--from or --downloads), or run the command in another folder",
        ),
    ],
)
def test_a_folder_in_the_way_is_named_with_what_to_do(
    there, words, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path(there).parent.mkdir(parents=True)
    Path(there).write_text("mine")
    names = () if words[:1] == ("imagenet",) else ("cifar10",)
    message = fail(tmp_path / "artifacts", "reproduce", *names, *words)
    assert expected in message and "OUT" not in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("cifar10", "imagenet"), "torchvision cannot download ImageNet-1k"),
        (
            ("cifar10", "cifar100", "--embeddings", "mine.npz", "--embeddings", "none.npz"),
            "none.npz does not exist",
        ),
    ],
)
def test_all_data_sets_are_checked_before_work_on_the_first(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_groups(Path("mine.npz"))
    assert message in fail(tmp_path / "artifacts", "reproduce", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.eye(30, dtype=np.float32)}, "none of the 30 rows has a label (cls)"),
        ({"x": np.eye(30, dtype=np.float32), "y": np.arange(30)}, "there are only 30 rows"),
    ],
)
def test_embeddings_without_labels_or_with_few_rows_are_refused_at_once(arrays, message, tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays)
    words = ("reproduce", "imagenet", "--embeddings", tmp_path / "mine.npz")
    assert message in fail(tmp_path / "artifacts", *words)


# Recipes and published figures.


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_paper_s_recipe_is_the_reference_with_the_sizes_of_the_set(name):
    reference, own = (
        Settings.from_tables(read_tables(find_config(config)), config)
        for config in ("reference", name)
    )
    settings = paper(name, rows=60_000)
    for key in ("start", "optimizer", "sinkhorn", "columns", "checks", "lr", "weight_decay"):
        assert getattr(settings.train, key) == getattr(reference.train, key)
    for key in ("hidden", "features", "batch", "epochs", "eta", "shared_heads"):
        assert getattr(settings.train, key) == getattr(own.train, key)
    assert settings.spectrum.eta == own.train.eta
    assert settings.assign.k == own.assign.k
    if name == "cifar10":
        assert settings.train == reference.train


@pytest.mark.parametrize("name", DATA_SETS)
def test_each_figure_has_a_source_and_each_method_a_row(name):
    rows = published(name)
    assert {row.method for row in rows} == {"CPP", "TEMI", "TURTLE", "PRO-DSC"}
    for row in rows:
        figures = [value for value in (row.acc, row.nmi, row.ari) if value is not None]
        assert bool(figures) == (row.source is not None)
        assert all(1 < value <= 100 for value in figures)  # in per cent
        assert row.paper and row.model and row.differs


def test_reproduce_has_a_help_with_an_example():
    output = " ".join(call(None, "reproduce", "--help").out.split())
    assert "cpp-pipe reproduce cifar10 cifar100" in output
    assert "of imagenet only train-*.tar" in output


def test_derived_settings_follow_a_changed_one():
    recipe = paper("cifar100", rows=60_000)
    one = replace(recipe, train=replace(recipe.train, eta=0.12, batch=1024))
    followed = follow(one, "cifar100", 60_000, {"train.eta", "train.batch"})
    assert followed.spectrum.eta == 0.12
    assert followed.train.warmup_steps == 60_000 // 1024
    named = {"train.eta", "train.batch", "spectrum.eta", "train.warmup_steps"}
    assert follow(one, "cifar100", 60_000, named) == one
    assert follow(recipe, "cifar10", 60_000, {"train.lr"}) == recipe
