"""reproduce: from the files of a data set to our figures beside published ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe.pipeline.config import Settings, find_config, read_tables
from cpp_pipe.pipeline.reproduction.published import published
from cpp_pipe.pipeline.reproduction.recipes import DATA_SETS, paper
from cpp_pipe.store import Store

from ..cli import Outcome, call, fail, succeed
from ..datasets.made import make_cifar10

SMALL = ("--set", "train.hidden=32", "--set", "train.features=16")
ROWS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reproduce")


@pytest.fixture(scope="module")
def reproduced(folder, shared) -> Outcome:
    """CIFAR-10 of 120 made images: fetched, embedded by a small model, clustered and scored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_cifar10(folder / "files", patch, per_batch=ROWS // 6)
        model = shared / "models" / "mnv2-clip"
        return succeed(
            folder / "artifacts",
            *("reproduce", "cifar10", "--seeds", "2", "--from", "files", *SMALL),
            *("--model-config", model / "mnv2-clip.json"),
            *("--pretrained", model / "mnv2-clip.safetensors"),
        )


def figures(done: Outcome) -> dict:
    """The JSON of the last line."""
    return json.loads(done.out.splitlines()[-1])["cifar10"]


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


def test_the_table_has_ours_beside_published_figures(reproduced):
    lines = reproduced.out.splitlines()
    assert "CIFAR-10: 120 rows, k 10, 2 seeds; scores in per cent" in lines
    starts = ["cpp-pipe, default", "cpp-pipe, paper's recipe", "k-means", "chance, same sizes"]
    starts += ["CPP, published", "TEMI, published", "TURTLE, published", "PRO-DSC, published"]
    assert all(any(line.startswith(start) for line in lines) for start in starts)
    (cpp,) = [line for line in lines if line.startswith("CPP, published")]
    assert cpp.split()[-2:] == ["97.4", "93.6"]  # the ARI is not recorded
    (ours,) = [line for line in lines if line.startswith("cpp-pipe, default")]
    assert ours.count("±") == 3


def test_it_says_what_differs(reproduced):
    said = reproduced.out
    assert "only 120 of 60,000 images are here: compare with nothing published" in said
    assert "settings changed by --set: train.hidden=32, train.features=16" in said
    assert "empty cells of CPP, PRO-DSC are not recorded in published.toml" in said


def test_it_fits_a_terminal_of_80_columns(reproduced, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    again = _again(folder)
    # A path stays whole.
    lines = [line for line in again.out.splitlines()[:-1] if str(folder) not in line]
    assert len(lines) > 15 and all(len(line) <= 80 for line in lines)


def test_nothing_is_made_twice(reproduced, folder, monkeypatch):
    monkeypatch.chdir(folder)
    before = set((folder / "artifacts").rglob("manifest.json"))
    again = _again(folder)
    assert figures(again) == figures(reproduced)
    assert set((folder / "artifacts").rglob("manifest.json")) == before


def _again(folder: Path) -> Outcome:
    record = Store(folder / "artifacts").runs.read("reproduce-cifar10")
    embed = record.settings["embed"]
    return succeed(
        folder / "artifacts",
        *("reproduce", "cifar10", "--seeds", "2", *SMALL),
        *("--model-config", embed["model_config"], "--pretrained", embed["pretrained"]),
    )


def test_each_trial_is_a_run_with_its_settings(reproduced, folder):
    runs = Store(folder / "artifacts").runs
    settings = runs.read("reproduce-cifar10-paper-1").settings
    assert settings["train"]["start"] == "random" and settings["train"]["seed"] == 1
    assert settings["spectrum"]["affinity"] == "membership"
    assert settings["assign"]["k"] == 10
    assert runs.read("reproduce-cifar10-default-0").settings["train"]["epochs"] == 0


def test_embeddings_that_one_has_need_no_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y = np.arange(100) % 10
    centres = np.random.default_rng(0).normal(size=(10, 24))
    x = centres[y] + 0.1 * np.random.default_rng(1).normal(size=(100, 24))
    np.savez("mine.npz", x=x.astype(np.float32), y=y)
    done = succeed(
        tmp_path / "artifacts",
        *("reproduce", "cifar10", "--embeddings", "mine.npz", "--seeds", "1"),
        *("--set", "train.hidden=16", "--set", "train.features=8"),
    )
    row = figures(done)
    assert row["model"] == "ViT-L-14 openai" and row["rows"] == 100
    assert row["trials"][0]["clusters"]["acc"] == 1
    assert not (tmp_path / "cifar10").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dtd",), "the paper's settings are known for cifar10, cifar20, cifar100, imagenet"),
        (("cifar10", "cifar100", "--embeddings", "a.npz"), "given once for each data set"),
        (("cifar10", "--embeddings", "none.npz"), "none.npz does not exist"),
        (("imagenet",), "torchvision cannot download ImageNet-1k"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in fail(tmp_path / "artifacts", "reproduce", *words)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.eye(30, dtype=np.float32)}, "none of the 30 rows has a label (cls)"),
        ({"x": np.eye(30, dtype=np.float32), "y": np.arange(30)}, "there are only 30 rows"),
    ],
)
def test_embeddings_without_labels_or_with_few_rows_are_refused_at_once(arrays, said, tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays)
    words = ("reproduce", "imagenet", "--embeddings", tmp_path / "mine.npz")
    assert said in fail(tmp_path / "artifacts", *words)


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
    assert "cpp-pipe reproduce cifar10 cifar100" in call(None, "reproduce", "--help").out
