"""`cpp-pipe report` on real digits shows what the run has and what it lacks."""

import json

import numpy as np
import pytest

from cpp_pipe import Run, Store
from cpp_pipe.pipeline.report.contents import Sample
from cpp_pipe.pipeline.report.reader import read_contents
from cpp_pipe.pipeline.report.spaces import measure_space
from cpp_pipe.stages.rows.artifact_rows import EMBEDDING, gather

from ..cli import SMALL, embed, fail, succeed
from .contents import Page


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digit_shards):
    """A store with heads and five clusters."""
    store = tmp_path_factory.mktemp("report") / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "5")
    return store


def read(store, *arguments) -> Page:
    """The report that the command writes; the command prints its path."""
    done = succeed(store, "report", *arguments)
    (line,) = done.out.splitlines()
    with open(line, encoding="utf-8") as file:
        return Page(file.read())


def test_the_report_is_written_into_the_store_and_its_path_is_printed(trained):
    done = succeed(trained, "report")
    assert done.out == f"{trained / 'reports' / 'default.html'}\n"
    assert [path.name for path in (trained / "reports").iterdir()] == ["default.html"]


def test_clusters_are_made_where_they_are_missing(tmp_path, digit_shards):
    store = tmp_path / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    done = succeed(store, "report", "--out", tmp_path / "page.html")
    assert "making assignments" in done.err and "needed by report" in done.err
    assert (tmp_path / "page.html").is_file()
    assert not (store / "reports").exists()


def test_missing_curve_and_captions_are_shown_with_their_commands(trained):
    page = read(trained)
    assert "60 images in 5 clusters" in page.text
    assert (
        "Not made yet: the curve of coding lengths. Run cpp-pipe select-k --store STORE."
        in page.text
    )
    assert "Not made yet: captions. Run cpp-pipe caption --store STORE." in page.text
    assert "k-means on the embeddings" in page.text


def test_new_artifacts_are_shown_and_captions_of_other_clusters_are_not(trained):
    succeed(trained, "select-k", "--grid", "2,5,10")
    succeed(trained, "caption", "--vocabulary", "digits-words.txt")
    page = read(trained)
    assert "Lower is better" in page.text and "Not made yet" not in page.text
    assert "captions, by share" in page.text and "digit" in page.text
    succeed(trained, "assign", "--k", "4")
    page = read(trained)
    assert "Out of date: captions. Run cpp-pipe caption --store STORE." in page.text
    assert "captions, by share" not in page.text
    assert (
        "This run has 4 clusters" in page.text
        or "dot is the chosen number, k\xa0=\xa04" in page.text
    )
    succeed(trained, "assign", "--k", "5")


def test_the_same_run_gives_the_same_bytes(trained, tmp_path):
    pages = []
    for name in ("one.html", "other.html"):
        succeed(trained, "report", "--out", tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_the_report_holds_no_path_of_this_machine(trained):
    succeed(trained, "report")
    assert str(trained.parent) not in (trained / "reports" / "default.html").read_text()


def test_scores_are_those_of_eval(trained):
    scores = json.loads(succeed(trained, "eval", "--json").out)
    text = read(trained).text
    for name in ("clusters", "kmeans", "chance"):
        assert f"{scores[name]['acc']:.3f}{scores[name]['nmi']:.3f}" in text
    assert "2 classes in 5 clusters" in read(trained, "--label", "parity").text


def test_labels_of_the_user_are_escaped(trained, tmp_path):
    evil = "<script>alert(1)</script>"
    keys = Run.open(trained).artifact("embeddings").column("key")
    table = tmp_path / "labels.csv"
    table.write_text("key,label\n" + "".join(f"{key},{evil}\n" for key in keys))
    page = read(trained, "--labels", table)
    assert not page.all("script") and evil in page.text


def test_a_run_without_labels_says_how_to_give_some(trained, tmp_path):
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, gather(Run.open(trained).artifact("embeddings")).astype(np.float32))
    words = ("--model", "digits-clip", "--pretrained", "shipped", "--run", "bare")
    succeed(trained, "import", vectors, *words)
    succeed(trained, "train", *SMALL, "--run", "bare")
    succeed(trained, "assign", "--k", "3", "--run", "bare")
    page = read(trained, "--run", "bare")
    assert "No image has a label" in page.text
    assert "Run cpp-pipe report --labels FILE.csv --run bare --store STORE." in page.text
    assert "k-means" not in page.text
    assert (trained / "reports" / "bare.html").is_file()


def test_a_field_that_is_blank_everywhere_is_no_label(trained, tmp_path):
    """The report of such a run ended in an error, which `--label` alone should."""
    x = gather(Run.open(trained).artifact("embeddings")).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, style=np.full(len(x), " "))
    words = ("--model", "digits-clip", "--pretrained", "shipped", "--run", "blank")
    succeed(trained, "import", tmp_path / "x.npz", *words)
    settings = Run.open(trained, "blank").settings.override("data", label="style")
    Store(trained).runs.update("blank", settings=settings.override("assign", k=3).tables())
    assert "No image has the field style" in read(trained, "--run", "blank").text


def test_the_labels_flag_must_name_existing_labels(trained, tmp_path):
    assert "has the label 'colour'" in fail(trained, "report", "--label", "colour")
    table = tmp_path / "labels.csv"
    table.write_text("key,label\nnobody,1\n")
    assert "no key of" in fail(trained, "report", "--labels", table)


def test_a_path_that_cannot_be_written_is_refused(trained, tmp_path):
    assert "is a folder: name a file" in fail(trained, "report", "--out", tmp_path)
    (tmp_path / "file").write_text("")
    message = fail(trained, "report", "--out", tmp_path / "file" / "page.html")
    assert "cannot be written" in message
    assert (tmp_path / "file").read_text() == ""


def test_an_empty_store_says_how_to_begin(tmp_path):
    assert "cpp-pipe embed" in fail(tmp_path / "none", "report")


def test_counts_and_keys_are_those_of_the_assignments(trained):
    run = Run.open(trained)
    contents = read_contents(run)
    clusters = np.array(run.artifact("assignments").column("cluster"))
    keys = run.artifact("assignments").column("key")
    assert contents.tally.sizes.tolist() == np.bincount(clusters, minlength=5).tolist()
    assert contents.counts.seen == contents.counts.embedded == 60
    for cluster, key in enumerate(contents.tally.surest):
        assert key is None or clusters[keys.index(key)] == cluster
    slots = [version.slot for version in contents.versions]
    assert slots[:3] == ["embeddings", "heads", "features"]
    assert contents.made_at == max(version.date for version in contents.versions)


@pytest.mark.parametrize(("slot", "role"), [("embeddings", EMBEDDING), ("features", "z")])
def test_a_space_is_measured_as_numpy_measures_it(trained, slot, role):
    artifact = Run.open(trained).artifact(slot)
    x = gather(artifact, role).astype(np.float64)
    # Rows of all three parts, in no order within a cluster.
    of_cluster = {3: np.array([41, 2, 17]), 0: np.array([59, 5])}
    overall = np.arange(0, 60, 2)
    sample = Sample(overall=overall, of_cluster=of_cluster, heat_map_rows={3: 2, 0: 2})
    space = measure_space(artifact, role, sample)
    assert space.size == x.shape[1]
    for found, rows in zip(
        [space.overall, *space.of_cluster], [overall, *of_cluster.values()], strict=True
    ):
        expected = np.linalg.svd(x[rows], compute_uv=False)
        assert found == pytest.approx(expected / expected[0], abs=1e-6)
    unit = x[[41, 2, 59, 5]]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert space.cosines == pytest.approx(np.abs(unit @ unit.T), abs=1e-5)
    expected = space.cosines[:2, 2:].mean()
    assert space.between == pytest.approx(expected, abs=1e-6)
