"""The report with decisions: given names, tags, and no excluded image."""

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.report.gallery import read_neighbourhoods
from cpp_pipe.pipeline.report.members import Members
from cpp_pipe.pipeline.report.neighbours import find_nearest
from cpp_pipe.pipeline.report.page import write_page
from cpp_pipe.pipeline.report.reader import read_contents
from cpp_pipe.stages.contract import Silent
from cpp_pipe.store import Store

from ..cli import fail, succeed
from .contents import Page


@pytest.fixture(scope="module")
def decided(tmp_path_factory, copy_of_run):
    """A run of digits in which clusters were merged and named, images tagged and excluded."""
    store = copy_of_run(tmp_path_factory.mktemp("decided") / "artifacts")
    run = Run.open(Store(store))
    cluster = np.array(run.artifact("assignments").column("cluster"))
    first, second, third = (np.argsort(-np.bincount(cluster), kind="stable")[:3]).tolist()
    run.edits.merge(first, second)
    run.edits.name(first, "<rings> & loops")
    tagged, excluded = np.flatnonzero(cluster == third)[:4], np.flatnonzero(cluster == third)[2:4]
    run.edits.tag("odd", images=tagged)
    run.edits.exclude(images=excluded)
    succeed(store, "edit", "seal", "final")
    return Run.open(Store(store)), store, cluster, (first, second, third), excluded


def page_of(store, *flags) -> Page:
    (line,) = succeed(store, "report", *flags).out.splitlines()
    with open(line, encoding="utf-8") as file:
        return Page(file.read())


@pytest.mark.parametrize("name", ["open", "final"])
def test_the_report_shows_decisions(decided, tmp_path, name):
    _, store, cluster, (_, second, third), _ = decided
    page = page_of(store, "--edits", name, "--out", tmp_path / "page.html")
    clusters = len(set(cluster.tolist())) - 1
    assert f"58 images in {clusters} clusters" in page.text
    assert f"the clusters as decided (--edits {name})" in page.text
    assert "2 images are excluded" in page.text and "<rings> & loops" in page.text
    merged = int((cluster == second).sum())
    assert f"{merged} image" in page.text and "in another cluster than was assigned" in page.text
    # The row of the third cluster: its number, size, exclusions and tags.
    size = int((cluster == third).sum()) - 2
    assert f"{size}2odd 2" in page.text
    labels = [attributes.get("aria-label") for attributes in page.all("div")]
    assert "Tags" in labels
    shown = [image["alt"] for image in page.all("img")]
    assert any(alt.startswith("<rings> & loops: its") for alt in shown)


def test_without_decisions_the_report_does_not_change(decided, tmp_path):
    _, store, cluster, _, _ = decided
    page = page_of(store, "--out", tmp_path / "page.html")
    assert f"60 images in {len(set(cluster.tolist()))} clusters" in page.text
    assert "as decided" not in page.text and "<rings>" not in page.text
    assert "Tags" not in [attributes.get("aria-label") for attributes in page.all("div")]


def test_an_excluded_image_is_in_no_section(decided):
    run, _, cluster, (first, second, third), excluded = decided
    contents = read_contents(run, edits="open", progress=Silent())
    shown = np.setdiff1d(np.arange(60), excluded)
    assert contents.sample.overall.tolist() == shown.tolist()
    drawn = np.concatenate(list(contents.sample.of_cluster.values()))
    assert sorted(drawn.tolist()) == shown.tolist()
    assert contents.tally.rows == contents.tally.bins.sum() == 58
    expected = np.where(cluster == second, first, cluster)[shown]
    assert contents.tally.sizes.tolist() == np.bincount(expected, minlength=5).tolist()
    assert second not in contents.tally.largest_first
    keys = run.artifact("embeddings").column("key")
    gone = {keys[row] for row in excluded}
    assert not gone & set(contents.tally.surest)
    assert sum(mosaic.surest + mosaic.doubtful for mosaic in contents.mosaics) <= 58
    assert contents.evaluation is not None and contents.evaluation.n == 58
    assert contents.decisions is not None
    assert contents.decisions.excluded[third] == contents.decisions.excluded.sum() == 2
    assert contents.decisions.tags == {"odd": 2}
    assert not any(key in write_page(contents) for key in gone)


def test_neighbours_are_only_those_that_are_not_excluded(decided):
    run, *_ = decided
    kept = np.zeros(60, bool)
    kept[[3, 7, 9, 20]] = True
    for slot in ("embeddings", "features"):
        found = find_nearest(run.artifact(slot), np.array([3, 9]), 6, kept)
        assert [sorted(row) for row in found.tolist()] == [[7, 9, 20], [3, 7, 20]]
    assignments = run.artifact("assignments")
    edited = run.edits.edited()
    edited.excluded = ~kept
    members = Members(assignments=assignments, edited=edited)
    sample = read_contents(run, edits="open").sample
    alone = np.array([3])
    only = type(sample)(overall=alone, of_cluster={0: alone}, heat_map_rows={0: 1})
    (neighbourhood,) = read_neighbourhoods(run, members, only)
    assert neighbourhood.count == 3 and neighbourhood.cluster == edited.cluster[3]


def test_a_fully_excluded_run_has_no_report(decided, tmp_path):
    run, store, _, _, _ = decided
    run.edits.exclude(images=list(range(60)))
    line = fail(store, "report", "--edits", "open", "--out", tmp_path / "page.html")
    assert "every image is excluded" in line
    run.edits.undo()
    assert "must be open" in fail(store, "report", "--edits", "none", "--no-pictures")


def test_no_scores_are_needed_if_all_labelled_images_are_excluded(decided, tmp_path):
    _, store, *_ = decided
    keys = Run.open(Store(store)).artifact("embeddings").column("key")
    labels = tmp_path / "labels.csv"
    labels.write_text(f"key,label\n{keys[0]},zero\n")
    Run.open(Store(store)).edits.exclude(images=[0])
    line = fail(store, "eval", "--labels", labels, "--edits", "open")
    assert "every image with a label is excluded" in line
    Run.open(Store(store)).edits.undo()
