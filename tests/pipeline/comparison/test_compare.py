"""`cpp-pipe compare`: its tables of runs, and the files that it writes."""

import csv
import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from cpp_pipe import Run, compare
from cpp_pipe.pipeline.commands.compare import print_comparison
from cpp_pipe.pipeline.commands.options import Common
from cpp_pipe.pipeline.comparison.cells import agreement_cells
from cpp_pipe.pipeline.comparison.comparison import compare_partitions
from cpp_pipe.pipeline.comparison.image_set import ImageSet
from cpp_pipe.pipeline.comparison.partition import Partition, partition_of, score
from cpp_pipe.pipeline.comparison.result import ComparedRuns
from cpp_pipe.pipeline.comparison.rivals import RIVALS, describe_noise
from cpp_pipe.pipeline.view.evaluation import Scores
from cpp_pipe.store import ConfigError, MissingError, Store

from ..cli import call, fail, succeed
from .world import import_run, make_runs, write


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_runs(tmp_path_factory.mktemp("compared"))


def read_json(store: Path, *words: str) -> dict:
    return json.loads(succeed(store, "compare", *words, "--json").out)


def groups_of(printed: dict) -> dict[str, dict]:
    return {group["label"]: group for group in printed["groups"]}


def test_scores_are_those_of_the_clusters_against_the_labels(store):
    clusters = Run.open(store, "all").artifact("assignments").column("cluster")
    group = groups_of(read_json(store, "all"))["all"]
    y = np.arange(160) % 4
    assert group["ari"] == {"mean": pytest.approx(adjusted_rand_score(y, clusters)), "spread": None}
    assert group["nmi"]["mean"] == pytest.approx(normalized_mutual_info_score(y, clusters))
    assert group["k"]["mean"] == len(set(clusters))


def test_runs_of_different_images_agree_over_the_images_that_both_hold(store):
    printed = read_json(store, "all", "half")
    whole, half = (
        Run.open(store, name).artifact("assignments").column("cluster") for name in ("all", "half")
    )
    expected = adjusted_rand_score(whole[::2], half)
    assert printed["agreement"][0][1] == printed["agreement"][1][0] == pytest.approx(expected)
    assert (printed["shared"], printed["images"]) == (80, 160)
    assert any("different images" in note for note in printed["notes"])


def test_settings_that_differ_are_named_and_others_are_not(store):
    printed = read_json(store, "all", "half")
    assert printed["settings"] == {"assign.k": ["4", "2"]}
    assert "train.features" not in succeed(store, "compare", "all", "half").out


def test_images_with_repeated_keys_are_matched_by_shard_and_key(tmp_path):
    for name, order in (("a", [0, 1, 2, 3]), ("b", [4, 5, 6, 7])):
        write(tmp_path / f"{name}.npz", np.array(order * 10) + 8 * np.repeat(np.arange(10), 4))
    twice = tmp_path / "twice"
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("a", "b"):
            content = dict(np.load(tmp_path / f"{name}.npz"))
            content["key"] = np.array([f"{row}" for row in range(40)])
            np.savez(folder / f"{name}.npz", **content)  # pyright: ignore[reportArgumentType]
        run = f"run-{number}"
        files = [folder / "a.npz", folder / "b.npz"]
        succeed(twice, "import", *files[: 3 - number], "--model", "ViT-B-32", "--run", run)
        succeed(twice, "assign", "--run", run, "--k", "4")
    printed = read_json(twice, "run-1", "run-2")
    assert printed["shared"] == 40


def test_without_labels_there_are_no_scores_but_agreement(tmp_path):
    store = tmp_path / "artifacts"
    import_run(store, "plain", write(tmp_path / "x.npz", np.arange(80), has_labels=False))
    succeed(store, "sweep", "--run", "plain", "--k", "2,4")
    out = succeed(store, "compare", "plain_k-2", "plain_k-4").out
    assert "ACC" not in out and "conf." in out and "Agreement" in out
    assert "conf.: mean confidence; s: seconds of all steps after the embeddings" in out
    printed = read_json(store, "plain_k-2", "plain_k-4", "--rivals")
    assert printed["classes"] is None
    assert groups_of(printed)["Ward"]["k"]["mean"] == 2, "as many as the first run has"


def test_rivals_cluster_the_same_images_with_k_as_the_number_of_classes(store):
    printed = read_json(store, "all", "--rivals")
    groups = groups_of(printed)
    assert list(groups) == ["all", *RIVALS]
    for name in ("k-means", "Ward", "spectral"):
        assert groups[name]["k"]["mean"] == 4
        assert groups[name]["acc"]["mean"] > 0.9, "the groups are far apart"
        assert groups[name]["confidence"] is None
    assert len(printed["agreement"]) == 5


def test_a_rival_that_is_not_installed_is_named_with_what_installs_it(store, monkeypatch):
    absent = replace(RIVALS["Ward"], module="of_no_package", install="pip install evoc")
    monkeypatch.setitem(RIVALS, "EVoC", absent)
    done = succeed(store, "compare", "all", "--rivals")
    assert "EVoC is left out: pip install evoc" in done.err
    assert "EVoC" not in done.out


def test_rivals_of_equal_images_warn_of_nothing(tmp_path):
    x = np.full((30, 4), 0.5, np.float32)
    np.savez(tmp_path / "equal.npz", x=x, y=np.arange(30) % 3)
    import_run(tmp_path / "artifacts", "equal", tmp_path / "equal.npz")
    printed = read_json(tmp_path / "artifacts", "equal", "--rivals")
    assert groups_of(printed)["k-means"]["k"]["mean"] == 1


def test_k_of_rivals_may_be_named(store):
    groups = groups_of(read_json(store, "all", "--rivals", "--k", "3"))
    assert groups["Ward"]["k"]["mean"] == 3


def test_lines_fit_a_terminal(store, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    images = ImageSet.read(Run.open(store, "all").artifact("embeddings"), "cls", None)
    clusters = np.arange(160) % 4
    partitions = [
        Partition(
            name=f"run_clusterings-{n}_landmarks-{n}00_seed-{seed}",
            images=images,
            clusters=clusters,
            k=101,
            scores=Scores(acc=0.5 + n / 100 + seed / 10, nmi=0.5, ari=0.1 + seed / 3),
            confidence=0.5,
            seconds=12345.6,
            settings={"spectrum.clusterings": n, "spectrum.landmarks": 100 * n},
            seed=seed,
        )
        for n in range(10, 22)
        for seed in range(2)
    ]
    print_comparison(Common(), compare_partitions(partitions, ["a note " * 30]))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80, "\n".join(lines)
    assert "  12 clusterings=21, landmarks=2100" in lines


@pytest.fixture(scope="module")
def written(store, tmp_path_factory) -> Path:
    """A folder with a comparison in every format."""
    folder = tmp_path_factory.mktemp("written")
    outs = [word for suffix in ("csv", "md", "tex", "html", "json", "parquet")
            for word in ("--out", folder / f"table.{suffix}")]  # fmt: skip
    succeed(store, "compare", "all", "half", "--rivals", *outs)
    return folder


def test_csv_has_a_row_for_each_run(written):
    with (written / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows[:2]] == ["all", "half"]
    assert [row["assign.k"] for row in rows[:2]] == ["4", "2"]
    assert rows[2]["is_rival"] == "true" and rows[2]["assign.k"] == ""
    assert float(rows[0]["acc"]) > 0.9


def test_latex_is_balanced_and_escaped(written):
    text = (written / "table.tex").read_text()
    assert text.count(r"\begin{") == text.count(r"\end{") == 4
    assert text.count("{") == text.count("}")
    for line in text.splitlines():
        assert not re.search(r"(?<!\\)[_#]", line), line
    lines = text.split(r"\begin{table}")[1].splitlines()
    widths = {line.count("&") for line in lines if "&" in line}
    assert len(widths) == 1, "every line has as many cells"
    assert r"\textbf{" in text


def test_markdown_has_a_table_of_equal_lines(written):
    blocks = (written / "table.md").read_text().split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 3
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_the_page_shows_plots_and_loads_nothing(written):
    page = (written / "table.html").read_text()
    assert page.count("<svg") == 2 and "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "HDBSCAN" in page and 'role="img"' in page


def test_json_file_is_what_the_flag_prints(store, written):
    printed = read_json(store, "all", "half")
    saved = json.loads((written / "table.json").read_text())
    assert saved["groups"][:2] == printed["groups"]


def test_python_gives_the_same_comparison(store):
    compared = compare("all", Run.open(store, "half"), store=store)
    assert compared.to_json() == read_json(store, "all", "half")
    assert compared.to_arrow().column("run").to_pylist() == ["all", "half"]
    assert "<table>" in compared._repr_html_()
    assert repr(compared) == "<2 runs compared over 160 images>"
    assert str(compared) == compared.to_markdown()


def test_an_invalid_comparison_is_refused_with_what_to_do(store, tmp_path):
    assert "no run 'none': name one of its runs (all, half)" in fail(
        store, "compare", "all", "none"
    )
    assert "named twice" in fail(store, "compare", "all", "all")
    assert ".csv, .md, .tex" in fail(store, "compare", "all", "--out", tmp_path / "x.doc")
    with pytest.raises(ConfigError, match="name at least one run"):
        compare(store=store)
    with pytest.raises(MissingError, match="has no run"):
        compare("none", store=store)


def test_missing_clusters_of_a_run_are_made(store, tmp_path):
    import_run(store, "fresh", write(tmp_path / "fresh.npz", np.arange(0, 160, 4)))
    printed = read_json(store, "fresh")
    assert printed["groups"][0]["k"]["mean"] >= 1
    assert "assignments" in Run.open(store, "fresh").record.versions


def test_seconds_are_without_any_embeddings(tmp_path):
    store = tmp_path / "artifacts"
    import_run(store, "one", write(tmp_path / "one.npz", np.arange(80)))
    content = dict(np.load(tmp_path / "one.npz"))
    content["x"] = content["x"][:, ::-1]
    np.savez(tmp_path / "other.npz", **content)  # pyright: ignore[reportArgumentType]
    import_run(store, "other", tmp_path / "other.npz")
    run = Run.open(store, "one")
    plan = run._plan(views={"beside": ["other"]}, assign={"k": 4})
    plan.make("assignments")
    run = Run.open(store, "one")
    made = [run.artifact(slot) for slot in run.record.versions if "embeddings" not in slot]
    expected = sum(artifact.manifest.made_by["seconds"] for artifact in made)
    assert {artifact.kind.name for artifact in made} >= {"views", "heads", "assignments"}
    images = ImageSet.read(run.artifact("embeddings"), "cls", None)
    slow = run.artifact("embeddings/other")
    partition = partition_of(run, images)
    assert partition.seconds == pytest.approx(expected)
    assert slow.content in partition.given


def test_runs_of_one_cluster_are_equal_only_for_the_same_images(store):
    def of_one(name: str, run: str, clusters: np.ndarray, setting: int) -> Partition:
        images = ImageSet.read(Run.open(store, run).artifact("embeddings"), "cls", None)
        settings = {"assign.k": setting}
        return Partition(name=name, images=images, clusters=clusters, k=1, settings=settings)

    import_run(store, "later", write(store.parent / "later.npz", np.arange(1, 160, 2)))
    ones, numbers = np.zeros(80, int), np.arange(80) % 4
    other = compare_partitions([of_one("a", "half", ones, 1), of_one("b", "later", ones, 2)])
    assert other.notes == ()
    renumbered = [of_one("a", "half", numbers, 1), of_one("b", "half", 3 - numbers, 2)]
    assert compare_partitions(renumbered).notes == ("a and b made the same clusters",)


def test_labels_that_no_image_has_are_refused(store, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("key,label\nnothing,cat\n")
    assert "has the label 'typo'" in fail(store, "compare", "all", "--label", "typo")
    message = fail(store, "compare", "all", "half", "--rivals", "--labels", table)
    assert "no key of" in message and "labels.csv" in message


def test_rivals_of_too_few_images_are_refused_before_clusters_are_made(store, tmp_path):
    import_run(store, "tiny", write(tmp_path / "tiny.npz", np.arange(12)))
    assert "rivals need at least 20 images" in fail(store, "compare", "tiny", "--rivals")
    message = fail(store, "compare", "tiny", "all", "--rivals", "--k", "160")
    assert "got 12 images and k = 160: leave --rivals out" in message
    few = fail(store, "compare", "all", "--rivals", "--k", "160")
    assert "got 160 images and k = 160: name fewer with `compare --k`, or leave" in few
    assert "assignments" not in Store(store).runs.read("tiny").versions


def test_k_without_rivals_is_refused(store):
    assert "add --rivals" in fail(store, "compare", "all", "--k", "50")
    with pytest.raises(ConfigError, match="rivals=True"):
        compare("all", store=store, k=50)


@pytest.mark.parametrize("k", [0, -3, 2.5, "4", True])
def test_an_invalid_k_of_rivals_is_refused(store, k):
    with pytest.raises(ConfigError, match=f"k must be a whole number, at least 1, got {k!r}"):
        compare("all", store=store, rivals=True, k=k)


def test_values_that_are_not_runs_are_refused_with_what_to_give(store):
    for wrong in (["all", "half"], 5, None):
        with pytest.raises(ConfigError, match="name runs one by one, as in compare"):
            compare(wrong, store=store)  # pyright: ignore[reportArgumentType]


def test_the_next_command_has_all_flags(store):
    out = succeed(store, "compare", "all", "--rivals", "--k", "3", "--label", "cls").out
    assert re.search(r"compare all --rivals --k 3 --label cls --out table.tex", out)


def test_a_comparison_is_printed_before_a_file_that_cannot_be_written(store, tmp_path):
    """Rivals of hours were lost with it."""
    (tmp_path / "file").write_text("")
    done = call(store, "compare", "all", "half", "--out", tmp_path / "file" / "table.csv")
    assert done.code == 2 and "cannot be written" in done.err
    assert "Agreement (ARI" in done.out


def test_a_rival_that_cannot_be_imported_is_left_out_and_costs_no_other(
    store, tmp_path, monkeypatch
):
    """The others were fitted first, and lost when its import failed."""
    (tmp_path / "broken_rival.py").write_text("raise ImportError('it needs another NumPy')")
    monkeypatch.syspath_prepend(tmp_path)
    rival = replace(RIVALS["k-means"], module="broken_rival")
    monkeypatch.setitem(RIVALS, "broken", rival)
    done = succeed(store, "compare", "all", "--rivals", "--json")
    assert "broken is left out: broken_rival cannot be imported (it needs another" in done.err
    labels = [group["label"] for group in json.loads(done.out)["groups"]]
    assert "k-means" in labels and "broken" not in labels


def test_images_matched_by_key_alone_are_reported(store):
    notes = read_json(store, "all", "half")["notes"]
    assert any("all and half are matched only by key" in note for note in notes)


def test_rivals_name_the_run_whose_embeddings_they_cluster(store):
    printed = read_json(store, "all", "half", "--rivals")
    assert sum("matched only by key" in note for note in printed["notes"]) == 1
    labels = list(groups_of(printed))
    assert labels[:4] == ["all", "half", "k-means on all", "Ward on all"]
    assert "Ward on half" in labels


def test_a_run_named_like_a_rival_has_another_label(store, tmp_path):
    import_run(store, "Ward", write(tmp_path / "ward.npz", np.arange(40)))
    succeed(store, "assign", "--run", "Ward", "--k", "4")
    groups = groups_of(read_json(store, "Ward", "--rivals"))
    assert list(groups) == ["Ward (Ward)", "k-means", "Ward (rival)", "spectral", "HDBSCAN"]
    assert [group["is_rival"] for group in groups.values()] == [False, True, True, True, True]


def test_runs_that_share_no_image_are_reported(store, tmp_path):
    content = dict(np.load(write(tmp_path / "x.npz", np.arange(40))))
    content["key"] = np.array([f"other-{n}" for n in range(40)])
    np.savez(tmp_path / "x.npz", **content)  # pyright: ignore[reportArgumentType]
    import_run(store, "elsewhere", tmp_path / "x.npz")
    succeed(store, "assign", "--run", "elsewhere", "--k", "4")
    printed = read_json(store, "all", "elsewhere")
    assert printed["shared"] == 0 and printed["agreement"][0][1] is None
    assert printed["notes"] == [
        "the runs hold different images: scores are over the images of each; some share no image "
        "(no key of one is in the other), so that nothing says how far they agree"
    ]


def test_rounded_zero_has_no_sign():
    assert agreement_cells([-0.001, -0.2, None]) == ["0.00", "-0.20", "-"]


def test_names_with_dollars_and_stars_are_shown_as_they_are(store):
    images = ImageSet.read(Run.open(store, "all").artifact("embeddings"), "cls", None)
    clusters = np.arange(160) % 4
    partitions = [
        Partition(name=f"a $\\x$ {n}", images=images, clusters=clusters, k=4, settings={"a.b": n},
                  scores=Scores(acc=0.5, nmi=0.5, ari=0.5))
        for n in range(2)
    ]  # fmt: skip
    compared = ComparedRuns(compare_partitions(partitions, ["a *b* <c>"]))
    assert "\\x$" in compared.to_html()
    assert "a \\*b\\* \\<c\\>." in compared.to_markdown()


def test_scores_against_different_labels_do_not_stand_in_one_table(tmp_path):
    store = tmp_path / "artifacts"
    content = dict(np.load(write(tmp_path / "x.npz", np.arange(80))))
    np.savez(tmp_path / "x.npz", **content, coarse=content["y"] // 2)  # pyright: ignore[reportArgumentType]
    for run, label in (("fine", "cls"), ("coarse", "coarse")):
        import_run(store, run, tmp_path / "x.npz")
        settings = Run.open(store, run).settings.override("data", label=label)
        Store(store).runs.update(run, settings=settings.override("assign", k=4).tables())
    message = fail(store, "compare", "fine", "coarse")
    assert "different labels (cls, coarse)" in message and "--label" in message
    assert read_json(store, "fine", "coarse", "--label", "cls")["classes"] == 4


def test_runs_of_the_same_images_have_the_label_that_one_of_them_names(tmp_path):
    """A line of two seeds had the score of one; of two equal runs the order decided on scores."""
    store = tmp_path / "artifacts"
    content = dict(np.load(write(tmp_path / "x.npz", np.arange(80), has_labels=False)))
    np.savez(tmp_path / "x.npz", **content, shape=np.arange(80) % 4)  # pyright: ignore[reportArgumentType]
    for run, label, seed in (("a", "cls", 0), ("b", "shape", 1), ("c", "shape", 0)):
        import_run(store, run, tmp_path / "x.npz")
        settings = Run.open(store, run).settings.override("data", label=label)
        settings = settings.override("spectrum", seed=seed).override("assign", k=4)
        Store(store).runs.update(run, settings=settings.tables())
    (seeds,) = read_json(store, "a", "b")["groups"]
    assert seeds["runs"] == ["a", "b"] and seeds["acc"]["spread"] is not None
    (equal,) = read_json(store, "a", "c")["groups"]
    assert equal["runs"] == ["a"] and equal["acc"]["mean"] == seeds["acc"]["mean"] == 1


def test_noise_of_several_seeds_is_one_sentence(store):
    """Each seed had a sentence of its own, and one row in a thousand was 0% of the images."""
    images = ImageSet.read(Run.open(store, "all").artifact("embeddings"), "cls", None)
    fits = [
        Partition(name=name, images=images, k=1, is_rival=True,
                  clusters=np.where(np.arange(1000) < noise, -1, 0))
        for name, noise in (("A", 120), ("A", 140), ("B", 1), ("B", 0), ("C", 0), ("D", 500))
    ]  # fmt: skip
    assert [note.split(" of the images")[0] for note in describe_noise(fits)] == [
        "A leaves 12% to 14%",
        "B leaves less than 1%",
        "D leaves 50%",
    ]


def test_a_long_label_costs_no_memory_for_other_images(store):
    """Every label was padded to the longest: with captions as labels that was gigabytes."""
    images = ImageSet.read(Run.open(store, "all").artifact("embeddings"), "cls", None)
    images.labels[:] = ["cat", "dog", None, "a" * 100_000] * 40
    tracemalloc.start()
    scores = score(images, np.arange(160) % 4)
    part = Partition(name="a", images=images, clusters=np.arange(160) % 4, k=4, scores=scores)
    compared = compare_partitions([part])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scores == Scores(acc=1, nmi=1, ari=1) and compared.classes == 3
    assert peak < 8 << 20
