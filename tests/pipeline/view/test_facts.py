"""Report and page agree about a run: counts, versions, the curve and absent artifacts."""

from dataclasses import replace

import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.report.reader import read_contents
from cpp_pipe.pipeline.serve.facts import describe_run
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.pipeline.view.curve import read_curve
from cpp_pipe.pipeline.view.facts import find_absences, list_versions

from ...store.stores import rewrite
from ..cli import succeed


@pytest.fixture
def store(tmp_path, copy_of_run):
    """A run with five clusters, captions and a curve."""
    made = copy_of_run(tmp_path / "artifacts")
    succeed(made, "select-k", "--grid", "2,5,10")
    return made


def test_report_and_page_say_the_same(store):
    run = Run.open(store)
    contents, opened = read_contents(run), OpenRun(run)
    page = describe_run(opened)
    opened.close()
    assert (page.model, page.seen, page.embedded) == (contents.model, 60, 60)
    versions = [(made.slot, made.version, made.inputs, made.settings) for made in page.made]
    assert versions == [
        (version.slot, version.version, version.inputs, version.settings)
        for version in contents.versions
    ]
    assert contents.curve is not None
    assert [(point.k, point.nats, point.as_good) for point in page.curve] == [
        (point.k, point.nats, point.is_as_good) for point in contents.curve.points
    ]
    absent = {absence.command for absence in contents.absences.values()}
    assert {absence.command for absence in page.absent} <= absent


def test_the_curve_is_sorted_and_names_the_shortest_and_the_chosen_k(store):
    artifact = Run.open(store).current("k_curve")
    assert artifact is not None
    curve = read_curve(artifact)
    assert [point.k for point in curve.points] == [2, 5, 10]
    assert curve.shortest.k == artifact.facts["shortest"]
    (chosen,) = [point.k for point in curve.points if point.is_chosen]
    assert chosen == artifact.facts["chosen"]


def test_a_curve_of_other_eigenvectors_is_out_of_date(store):
    succeed(store, "spectrum", "--k-max", "12")
    succeed(store, "assign", "--k", "5")
    run = Run.open(store)
    assert run.current("k_curve") is None
    assert find_absences(run)["k_curve"].reason == "Out of date: the curve of coding lengths"


def test_absences_name_the_run_and_the_store_but_tell_no_path(store):
    run = Run.open(store)
    absences = find_absences(run)
    assert {name: absence.command for name, absence in absences.items()} == {
        "hierarchy": "cpp-pipe serve --store STORE",
        "projection": "cpp-pipe map --store STORE",
    }
    assert absences["projection"].reason == "Not made yet: the map"
    other = Run(run.store, replace(run.record, name="other"))
    assert find_absences(other)["projection"].command == ("cpp-pipe map --run other --store STORE")


def test_an_optional_artifact_in_an_unknown_format_is_left_out(store):
    folder = Run.open(store).artifact("captions").folder
    rewrite(folder / "manifest.json", lambda manifest: manifest.update(format=999))
    run = Run.open(store)
    assert "captions" in find_absences(run)
    assert "captions" not in [version.slot for version in list_versions(run)]
    contents = read_contents(run)
    assert contents.captions == {} and contents.tally.rows == 60
